//! Lines of a web server's access log in the combined format of Apache and nginx:
//!
//! ```text
//! 192.0.2.7 - ada [17/May/2025:10:05:03 +0200] "GET /prices?hub=ttf HTTP/1.1" 200 5120 "https://example.org/" "curl/8.5"
//! ```

use std::borrow::Cow;

use jiff::Timestamp;

/// One request that was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'l> {
    /// The client's address; its name, where the server looks names up.
    pub client: &'l str,
    /// Who logged in, or else whom the client's own host named (RFC 1413).
    pub user: Option<&'l str>,
    /// When it was answered, in milliseconds UTC.
    pub timestamp_ms: i64,
    /// The method; `-` where the client sent no HTTP.
    pub method: &'l str,
    /// The path without its query, which often holds what nobody should keep; where the client
    /// sent no HTTP, what it did send.
    pub path: Cow<'l, str>,
    /// The status of the answer.
    pub status: i32,
    /// Size of the answer's body.
    pub bytes: i64,
    /// The page that led to the request.
    pub referrer: Option<Cow<'l, str>>,
    /// What the client calls itself.
    pub user_agent: Option<Cow<'l, str>>,
}

impl<'l> Request<'l> {
    /// Takes a line apart, or says what is wrong with it.
    pub fn parse(line: &'l str) -> Result<Self, &'static str> {
        let (client, rest) = line.split_once(' ').ok_or("there is only one word")?;
        // A user's name may hold anything but an unescaped quote, `] "` least of all.
        let (names_and_time, rest) = rest
            .split_once("] \"")
            .ok_or("no time in brackets stands before the request")?;
        let (names, time) = names_and_time
            .rsplit_once(" [")
            .ok_or("the time does not begin with a bracket")?;
        let (ident, user) = names.split_once(' ').ok_or("a user's name is missing")?;
        let (request, rest) = quoted(rest).ok_or("the request's quote is not closed")?;

        let mut words = rest.trim_start().splitn(3, ' ');
        let status = words.next().and_then(status).ok_or("the status is none")?;
        let bytes = words.next().and_then(size).ok_or("the size is no number")?;
        let rest = words.next().and_then(|rest| rest.strip_prefix('"'));
        let (referrer, rest) = quoted(rest.ok_or("the referrer is missing")?)
            .ok_or("the referrer's quote is not closed")?;
        let rest = rest
            .strip_prefix(" \"")
            .ok_or("the user agent is missing")?;
        let (user_agent, rest) = quoted(rest).ok_or("the user agent's quote is not closed")?;
        if !rest.trim_end().is_empty() {
            return Err("something stands behind the user agent");
        }
        if client.is_empty() {
            return Err("the client's address is missing");
        }
        let timestamp = Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", time);
        let (method, path) = method_and_path(request);
        Ok(Request {
            client,
            user: known(user).or(known(ident)),
            timestamp_ms: timestamp.map_err(|_| "the time is none")?.as_millisecond(),
            method,
            path: unescaped(path),
            status,
            bytes,
            referrer: known(referrer).map(unescaped),
            user_agent: known(user_agent).map(unescaped),
        })
    }
}

/// The text up to the first quote that no backslash escapes, and what comes behind it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// A `-` stands for what the server does not know.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !matches!(*text, "-" | ""))
}

fn status(text: &str) -> Option<i32> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn size(text: &str) -> Option<i64> {
    if text == "-" {
        return Some(0);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn method_and_path(request: &str) -> (&str, &str) {
    let is_method = |text: &str| {
        let valid = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
        text != "-" && !text.is_empty() && text.bytes().all(valid)
    };
    let Some((method, target)) = request.split_once(' ').filter(|(word, _)| is_method(word)) else {
        return ("-", known(request).unwrap_or("-"));
    };
    // Sloppy clients put spaces into paths, and HTTP/0.9 has no version.
    let target = match target.rsplit_once(' ') {
        Some((target, version)) if version.starts_with("HTTP/") => target,
        _ => target,
    };
    let path = target.split(['?', '#']).next().unwrap_or(target);
    (method, known(path.trim()).unwrap_or("-"))
}

/// Undoes the server's escapes: `\"`, `\\`, `\n` and the like, `\xhh`.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (unescaped, used) = match (byte, after) {
            (b'\\', [b'x', digits @ ..]) => match hex(digits) {
                Some(byte) => (byte, 4),
                None => (byte, 1),
            },
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [escaped @ (b'"' | b'\\'), ..]) => (*escaped, 2),
            _ => (byte, 1),
        };
        bytes.push(unescaped);
        rest = &rest[used..];
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (high, low) = (digit(*digits.first()?)?, digit(*digits.get(1)?)?);
    u8::try_from(high << 4 | low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &str, behind: &str) -> String {
        format!("192.0.2.7 - - [17/May/2025:10:05:03 +0000] \"{request}\" {behind}")
    }

    fn parsed(line: &str) -> Request<'_> {
        Request::parse(line).unwrap()
    }

    #[test]
    fn every_part_of_a_line_is_kept() {
        let line = "192.0.2.7 - ada [17/May/2025:10:05:03 +0000] \
                    \"GET /prices?hub=ttf HTTP/1.1\" 200 5120 \"https://example.org/\" \"curl/8.5\"";
        let expected = Request {
            client: "192.0.2.7",
            user: Some("ada"),
            timestamp_ms: 1_747_476_303_000,
            method: "GET",
            path: "/prices".into(),
            status: 200,
            bytes: 5120,
            referrer: Some("https://example.org/".into()),
            user_agent: Some("curl/8.5".into()),
        };
        assert_eq!(parsed(line), expected);
    }

    #[test]
    fn what_the_server_does_not_know_is_absent_and_a_missing_size_is_zero() {
        let line = line("HEAD / HTTP/1.0", "304 - \"-\" \"-\"");
        let request = parsed(&line);
        assert_eq!((request.user, request.bytes), (None, 0));
        assert_eq!((request.referrer, request.user_agent), (None, None));
    }

    #[test]
    fn a_client_may_have_an_ipv6_address() {
        let line = line("GET / HTTP/2.0", "200 1 \"-\" \"-\"").replace("192.0.2.7", "2001:db8::7");
        assert_eq!(parsed(&line).client, "2001:db8::7");
    }

    #[test]
    fn times_of_every_zone_become_utc() {
        let line = line("GET / HTTP/1.1", "200 1 \"-\" \"-\"");
        let at =
            |time: &str| parsed(&line.replace("17/May/2025:10:05:03 +0000", time)).timestamp_ms;
        assert_eq!(at("17/May/2025:12:05:03 +0200"), 1_747_476_303_000);
        assert_eq!(at("17/May/2025:00:35:03 -0930"), 1_747_476_303_000);
        assert_eq!(at("29/Feb/2024:23:59:59 -0100"), 1_709_254_799_000);
    }

    #[test]
    fn quotes_in_a_user_agent_are_escaped_in_the_line_alone() {
        let line = line(
            "GET / HTTP/1.1",
            r#"200 1 "-" "Agent \"007\" \x22\xc3\xa9\x22 \\\\ \q \x2""#,
        );
        let agent = parsed(&line).user_agent.unwrap();
        assert_eq!(agent, r#"Agent "007" "é" \\ \q \x2"#);
    }

    #[test]
    fn a_user_name_with_spaces_or_brackets_moves_nothing() {
        let line = line("GET /a HTTP/1.1", "200 1 \"-\" \"-\"").replace("- -", r#"- a [1] \"b"#);
        let request = parsed(&line);
        assert_eq!(request.user, Some(r#"a [1] \"b"#));
        assert_eq!((request.path.as_ref(), request.status), ("/a", 200));
        let ident = line.replace(r#"- a [1] \"b"#, "eve -");
        assert_eq!(parsed(&ident).user, Some("eve"));
    }

    #[test]
    fn a_request_that_is_missing_or_no_http_is_kept_as_it_was_sent() {
        for (request, method, path) in [
            ("-", "-", "-"),
            ("", "-", "-"),
            (r"\x16\x03\x01", "-", "\u{16}\u{3}\u{1}"),
            ("GET /old", "GET", "/old"),
            ("GET /two words HTTP/1.1", "GET", "/two words"),
            ("OPTIONS * HTTP/1.1", "OPTIONS", "*"),
            ("GET ?a=1 HTTP/1.1", "GET", "-"),
            ("hello you", "-", "hello you"),
        ] {
            let line = line(request, "400 0 \"-\" \"-\"");
            let found = parsed(&line);
            assert_eq!(
                (found.method, found.path.as_ref()),
                (method, path),
                "{request}"
            );
        }
    }

    #[test]
    fn a_malformed_line_says_what_is_wrong_with_it() {
        let good = line("GET / HTTP/1.1", "200 1 \"-\" \"agent\"");
        let error = |line: &str| Request::parse(line).unwrap_err();
        for (from, to, why) in [
            (&good[..], "", "there is only one word"),
            ("[17", "17", "the time does not begin with a bracket"),
            ("May", "Mai", "the time is none"),
            ("17/May", "32/May", "the time is none"),
            (" +0000", "", "the time is none"),
            ("- - ", "- ", "a user's name is missing"),
            ("HTTP/1.1\" 200", "HTTP/1.1", "the status is none"),
            (" 200 ", " 20x ", "the status is none"),
            (" 200 ", " +20 ", "the status is none"),
            (" 1 ", " -1 ", "the size is no number"),
            (" 1 ", " 99999999999999999999 ", "the size is no number"),
            (" \"-\" \"agent\"", "", "the referrer is missing"),
            (" \"agent\"", "", "the user agent is missing"),
            ("agent\"", "agent", "the user agent's quote is not closed"),
            (
                "agent\"",
                "agent\" 0.003",
                "something stands behind the user agent",
            ),
            ("192.0.2.7", "", "the client's address is missing"),
        ] {
            assert_eq!(error(&good.replacen(from, to, 1)), why, "{from} -> {to}");
        }
        assert_eq!(
            error("192.0.2.7 - - no time"),
            "no time in brackets stands before the request"
        );
    }
}
