//! What stands between us and the registry: redirects, and proxies that compress.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use super::*;

/// A request as it came: its first line and its headers in lower case.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A server on a free port that answers each path with bytes of a whole HTTP answer.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let requests = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut headers, mut length) = (String::new(), String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(given) = line.strip_prefix("content-length:") {
                    length = given.trim().parse().unwrap();
                }
                headers.push_str(&line);
            }
            std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            requests.lock().push((first, headers));
            stream.write_all(&answer(&path)).unwrap();
        }
    });
    (url, seen)
}

fn redirect(status: &str, to: &str) -> Vec<u8> {
    let length = "Content-Length: 0\r\nConnection: close";
    format!("HTTP/1.1 {status}\r\nLocation: {to}\r\n{length}\r\n\r\n").into_bytes()
}

fn found(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n");
    [format!("{head}Connection: close\r\n\r\n").as_bytes(), body].concat()
}

fn client(url: &str) -> SchemaRegistry {
    let settings = RegistrySettings::new(url.replace("http://", "http://me:s3cret@"));
    SchemaRegistry::new(&settings.retries(0)).unwrap()
}

#[test]
fn a_redirect_that_loses_what_is_posted_is_named() {
    for status in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let (url, _) =
            server(move |_| redirect(status, "https://u:t0ken@new.example/base?k=t0ken"));
        let error = client(&url).register_blocking("orders", ORDER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.get("setting"), Some("urls"));
        let named = "redirects to https://new.example/base, which would drop";
        assert!(error.message().contains(named), "{error}");
        assert!(!error.to_string().contains("t0ken"), "{error}");
    }
}

#[test]
fn redirects_that_keep_what_is_asked_are_followed_without_the_login() {
    let (mock, _) = started();
    mock.register("orders-value", ORDER).unwrap();
    for (status, post) in [
        ("301 Moved Permanently", false),
        ("307 Temporary Redirect", true),
        ("308 Permanent Redirect", true),
    ] {
        let target = mock.url();
        let (url, seen) = server(move |path| redirect(status, &format!("{target}{path}")));
        let client = client(&url);
        assert_eq!(client.schema_blocking(1).unwrap().schema, ORDER);
        if post {
            assert_eq!(client.register_blocking("orders", ORDER).unwrap(), 1);
        }
        let with_login = |(_, headers): &(String, String)| headers.contains("authorization");
        assert!(seen.lock().iter().all(with_login), "the first host gets it");
    }
    let (second, seen) = server(|_| found("", br#"{"schema": "\"string\""}"#));
    let (first, _) =
        server(move |path| redirect("307 Temporary Redirect", &format!("{second}{path}")));
    client(&first).schema_blocking(1).unwrap();
    assert!(!seen.lock()[0].1.contains("authorization"), "another host");
}

#[test]
fn redirects_in_a_circle_end() {
    let (url, seen) = server(|path| redirect("307 Temporary Redirect", path));
    let error = client(&url).schema_blocking(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("redirects too often"), "{error}");
    assert_eq!(seen.lock().len(), 5);
}

#[test]
fn a_compressed_answer_is_read_though_nobody_asked_for_it() {
    let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    body.write_all(br#"{"schema": "\"string\""}"#).unwrap();
    let body = body.finish().unwrap();
    let (url, _) = server(move |_| found("Content-Encoding: gzip\r\n", &body));
    let schema = client(&url).schema_blocking(1).unwrap();
    assert_eq!(schema.schema, "\"string\"");
}
