//! `async_service`: every event under its request's correlation id, none lost at the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use carbon_events::{Event, Topic};

use crate::harness::{Running, program, records};

/// The answer's status, its correlation id and its body.
fn get(address: &str, path: &str, headers: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("x-correlation-id: "));
    let status = head.split(' ').nth(1).expect("a status");
    (
        status.to_owned(),
        id.expect("a correlation id").to_owned(),
        body.to_owned(),
    )
}

#[test]
fn the_events_of_a_request_carry_its_correlation_id() {
    let (service, line) = Running::start(&mut program("async_service"));
    let address = line.trim().strip_prefix("listening on http://").unwrap();
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let address = address.to_owned();
            thread::spawn(move || {
                let headers =
                    format!("x-correlation-id: order-{number}\r\nx-user: user-{number}\r\n");
                get(&address, "/datasets/prices", &headers)
            })
        })
        .collect();
    for (number, request) in requests.into_iter().enumerate() {
        let (status, id, body) = request.join().unwrap();
        assert_eq!((&*status, id), ("200", format!("order-{number}")));
        assert!(body.starts_with("hub,price"), "{body}");
    }
    let (status, made, _) = get(address, "/nothing", "");
    assert_eq!(status, "404");
    let (code, rest) = service.terminate();
    assert_eq!((code, &*rest), (Some(0), "41 events delivered\n"));

    let accesses = records(Topic::AuditDataAccess);
    assert_eq!(accesses.len(), 20);
    for record in &accesses {
        let Ok(Event::AuditDataAccess(access)) = &record.event else {
            panic!("{record:?}");
        };
        let number = access.user_id.strip_prefix("user-").unwrap();
        let id = access.envelope.correlation_id.as_deref();
        assert_eq!(id, Some(&*format!("order-{number}")));
    }
    let calls = records(Topic::AuditApiCalls);
    let calls: Vec<_> = calls
        .iter()
        .filter_map(|record| match &record.event {
            Ok(Event::AuditAPICall(call)) if call.service == "catalogue" => Some(call),
            _ => None,
        })
        .collect();
    assert_eq!(calls.len(), 21);
    let anonymous = calls.iter().find(|call| call.user_id.is_none()).unwrap();
    assert_eq!(anonymous.envelope.correlation_id.as_deref(), Some(&*made));
    assert_eq!(
        (anonymous.status_code, &*anonymous.endpoint),
        (404, "/nothing")
    );
}
