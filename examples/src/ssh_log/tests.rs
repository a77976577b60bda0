use super::*;

fn entry(message: &str) -> Entry<'_> {
    Entry::parse(message).unwrap()
}

#[track_caller]
fn who(message: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let entry = entry(message);
    (entry.user, entry.address, entry.port)
}

#[test]
fn a_login_names_user_method_and_client() {
    let accepted = "Accepted publickey for ada from 192.0.2.7 port 54259 ssh2: RSA SHA256:Kl8k";
    let found = entry(accepted);
    let expected = Entry {
        message: accepted,
        repeated: 1,
        category: Authentication,
        severity: Info,
        action: LOGIN,
        outcome: Success,
        user: Some("ada"),
        invalid_user: false,
        method: Some("publickey"),
        address: Some("192.0.2.7"),
        port: Some("54259"),
    };
    assert_eq!(found, expected);
    let failed = entry("Failed password for ada from 2001:db8::7 port 22 ssh2");
    assert_eq!((failed.outcome, failed.severity), (Failure, Low));
    assert_eq!(failed.address, Some("2001:db8::7"));
    assert_eq!(failed.port, Some("22"));
}

#[test]
fn a_guessed_name_weighs_more_than_a_mistyped_password() {
    for message in [
        "Failed password for root from 192.0.2.7 port 1 ssh2",
        "Failed none for invalid user guest from 192.0.2.7 port 1 ssh2",
    ] {
        assert_eq!(entry(message).severity, Medium, "{message}");
    }
    let invalid = entry("Failed none for invalid user guest from 192.0.2.7 port 1 ssh2");
    assert_eq!((invalid.user, invalid.invalid_user), (Some("guest"), true));
}

#[test]
fn a_name_that_pretends_to_be_an_address_blames_nobody() {
    let forged = "Failed password for invalid user x from 198.51.100.1 port 7 ssh2 from \
                  203.0.113.9 port 22 ssh2";
    let expected = Some("x from 198.51.100.1 port 7 ssh2");
    assert_eq!(who(forged), (expected, Some("203.0.113.9"), Some("22")));
}

#[test]
fn an_empty_name_is_none() {
    let failed = "Failed password for invalid user  from 192.0.2.7 port 1 ssh2";
    assert_eq!(who(failed), (None, Some("192.0.2.7"), Some("1")));
    assert_eq!(
        who("Invalid user  from 192.0.2.7"),
        (None, Some("192.0.2.7"), None)
    );
    assert_eq!(
        who("input_userauth_request: invalid user  [preauth]"),
        (None, None, None)
    );
}

#[test]
fn a_repeated_message_counts_as_often_as_it_came() {
    let once = "Failed password for root from 192.0.2.7 port 9 ssh2";
    let repeated = format!("message repeated 5 times: [ {once}]");
    let expected = Entry {
        repeated: 5,
        ..entry(once)
    };
    assert_eq!(entry(&repeated), expected);
}

#[test]
fn other_messages_give_what_they_mention() {
    let ada = Some("ada");
    let client = Some("192.0.2.7");
    for (message, expected) in [
        (
            "Invalid user ada from 192.0.2.7 port 4",
            (ada, client, Some("4")),
        ),
        (
            "error: maximum authentication attempts exceeded for invalid user ada from \
             192.0.2.7 port 4 ssh2 [preauth]",
            (ada, client, Some("4")),
        ),
        (
            "pam_unix(sshd:session): session opened for user ada by (uid=0)",
            (ada, None, None),
        ),
        (
            "pam_unix(sshd:session): session opened for user ada(uid=7) by x",
            (ada, None, None),
        ),
        (
            "pam_unix(sshd:auth): failure; rhost=192.0.2.7  user=ada",
            (ada, client, None),
        ),
        (
            "Connection closed by 192.0.2.7 port 4 [preauth]",
            (None, client, Some("4")),
        ),
        (
            "Connection from 192.0.2.7 port 4 on 198.51.100.2 port 22",
            (None, client, Some("4")),
        ),
        (
            "Received disconnect from 192.0.2.7 port 4:11: bye",
            (None, client, Some("4")),
        ),
        (
            "Received disconnect from 192.0.2.7: 11: bye [preauth]",
            (None, client, None),
        ),
        (
            "Received disconnect from 192.0.2.7 port 4:11: from 198.51.100.1 port 9",
            (None, client, Some("4")),
        ),
        (
            "Bad protocol version identification 'from 198.51.100.1 port 9' from 192.0.2.7 port 4",
            (None, client, Some("4")),
        ),
        (
            "Connection closed by invalid user from 198.51.100.1 port 9 192.0.2.7 port 4",
            (None, client, Some("4")),
        ),
        (
            "Unable to negotiate with 192.0.2.7 port 4: no match. Their offer: x port 9",
            (None, client, Some("4")),
        ),
        (
            "input_userauth_request: invalid user a from 198.51.100.1 [preauth]",
            (Some("a from 198.51.100.1"), None, None),
        ),
        (
            "Connection closed by authenticating user ada 192.0.2.7 port 4 [preauth]",
            (ada, client, Some("4")),
        ),
        (
            "Disconnected from user ada 192.0.2.7 port 4",
            (ada, client, Some("4")),
        ),
        ("Server listening on 0.0.0.0 port 22.", (None, None, None)),
        ("Received signal 15; terminating.", (None, None, None)),
    ] {
        assert_eq!(who(message), expected, "{message}");
    }
}

#[test]
fn a_message_that_is_cut_off_says_so() {
    assert_eq!(Entry::parse("").unwrap_err(), "the message is missing");
    for cut in [
        "Failed password for",
        "Failed password for ada from",
        "Accepted x for a",
    ] {
        assert_eq!(
            Entry::parse(cut).unwrap_err(),
            "a login without its client",
            "{cut}"
        );
    }
}
