//! The registry's answers as results: Confluent's REST API, its status codes and `error_code`s
//! (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>).

use std::io::Read;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::SchemaKey;
use super::http::{Call, Fault};
use crate::{Error, ErrorKind};

/// The body of an answer that is not 2xx.
#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
    #[serde(default)]
    message: String,
}

/// Confluent's `error_code`s that differ from others of the same status.
const SUBJECT_NOT_FOUND: u32 = 40_401;
const VERSION_NOT_FOUND: u32 = 40_402;
const SCHEMA_NOT_FOUND: u32 = 40_403;

/// How much of a registry's message is repeated; an incompatibility lists every difference.
const MAX_MESSAGE: usize = 2_000;

pub(super) fn read<T: DeserializeOwned>(
    status: StatusCode,
    body: &[u8],
    call: &Call,
) -> Result<T, Fault> {
    if !status.is_success() {
        return Err(refused(status, body, call));
    }
    serde_json::from_slice(body).map_err(|error| Fault {
        error: unavailable(format!("not a schema registry's answer: {error}")),
        try_again: true,
    })
}

fn refused(status: StatusCode, body: &[u8], call: &Call) -> Fault {
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let said = match &refusal {
        Some(refusal) if !refusal.message.is_empty() => {
            format!(": {}", shortened(refusal.message.trim()))
        }
        _ => String::new(),
    };
    let code = refusal.as_ref().map(|refusal| refusal.error_code);
    let final_error = |kind, message: String| Fault {
        error: Error::new(kind, message).with("status", status.as_u16()),
        try_again: false,
    };
    match status.as_u16() {
        401 => final_error(
            ErrorKind::Authentication,
            format!("the schema registry rejects the credentials{said}"),
        ),
        403 => final_error(
            ErrorKind::Authorization,
            format!("the schema registry denies access{said}"),
        ),
        404 => match code {
            Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND | SCHEMA_NOT_FOUND) => {
                not_found(code, &said, call)
            }
            _ => no_registry_here(&said, call),
        },
        409 => final_error(
            ErrorKind::IncompatibleSchema,
            format!("the schema is not compatible with the subject's{said}"),
        ),
        422 => final_error(
            ErrorKind::IncompatibleSchema,
            format!("the schema registry rejects the schema{said}"),
        ),
        408 | 429 | 500.. => Fault {
            error: unavailable(format!("the schema registry answers {status}{said}"))
                .with("status", status.as_u16()),
            try_again: true,
        },
        _ => final_error(
            ErrorKind::InvalidConfig,
            format!("{status} is not a schema registry's answer: check that urls holds its base URL{said}"),
        )
        .about("urls"),
    }
}

impl Fault {
    fn about(mut self, setting: &'static str) -> Self {
        self.error = self.error.with("setting", setting);
        self
    }
}

/// A 404 without one of the registry's own codes: a wrong base URL, or the page of a proxy whose registry
/// is down.
fn no_registry_here(said: &str, call: &Call) -> Fault {
    let why = match call.schema {
        Some(SchemaKey::Guid(_)) => {
            "the record names its schema in the header __value_schema_id; check that urls holds the \
             registry's base URL, and that it supports GUIDs"
        }
        _ => "check that urls holds its base URL",
    };
    let message = format!("404 Not Found is not a schema registry's answer: {why}{said}");
    Fault {
        error: unavailable(message).with("status", 404),
        try_again: true,
    }
    .about("urls")
}

fn not_found(code: Option<u32>, said: &str, call: &Call) -> Fault {
    let (kind, message) = match (code, call.schema) {
        (_, Some(SchemaKey::Id(_))) => (
            ErrorKind::Undecodable,
            "the schema registry has no schema with this id",
        ),
        (_, Some(SchemaKey::Guid(_))) => (
            ErrorKind::Undecodable,
            "the schema registry has no schema with the GUID in the header __value_schema_id",
        ),
        (Some(SCHEMA_NOT_FOUND), None) => (
            ErrorKind::IncompatibleSchema,
            "the subject does not have this schema",
        ),
        (Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND), None) => (
            ErrorKind::IncompatibleSchema,
            "the schema registry does not have this subject",
        ),
        _ => (
            ErrorKind::IncompatibleSchema,
            "the schema registry does not have this",
        ),
    };
    Fault {
        error: Error::new(kind, format!("{message}{said}")).with("status", 404),
        try_again: false,
    }
}

/// Whether the registry answered that the schema or subject does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    error.get("status") == Some("404") && error.kind() != ErrorKind::Unavailable
}

/// Whether the answer was a 404 that may not be a registry's.
pub(super) fn is_a_page(error: &Error) -> bool {
    error.get("status") == Some("404") && error.kind() == ErrorKind::Unavailable
}

/// The target of a redirect. One that would lose the request's body is an error (RFC 9110, section 15.4:
/// after 301, 302 and 303 clients send a GET).
pub(super) fn redirect(response: &Response, from: &Url, call: &Call) -> Result<Option<Url>, Fault> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION);
    let target = location
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .filter(|target| matches!(target.scheme(), "http" | "https"));
    let fault = |why: String| Fault {
        error: Error::new(
            ErrorKind::InvalidConfig,
            format!("the schema registry answers {status}: {why}"),
        )
        .with("status", status.as_u16()),
        try_again: false,
    };
    let Some(target) = target else {
        return Err(fault("it redirects without an address".to_owned()).about("urls"));
    };
    if call.body.is_some() && !matches!(status.as_u16(), 307 | 308) {
        let target = shown(&target);
        let why = format!(
            "it redirects to {target}, which would drop the request's body: set urls to that address"
        );
        return Err(fault(why).about("urls"));
    }
    Ok(Some(target))
}

pub(super) fn too_many_redirects(last: &Url) -> Fault {
    let last = shown(last);
    let message = format!("the schema registry redirects too often, last to {last}");
    Fault {
        error: Error::new(ErrorKind::InvalidConfig, message),
        try_again: false,
    }
    .about("urls")
}

/// An address without credentials and query.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs without a host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The encoding of an answer's body, in lower case. We request none, but some proxies compress anyway.
pub(super) fn encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim();
    (!encoding.is_empty()).then(|| encoding.to_ascii_lowercase())
}

/// The decoded body, up to `limit` bytes.
pub(super) fn decoded(
    encoding: Option<String>,
    body: Vec<u8>,
    limit: usize,
) -> Result<Vec<u8>, Fault> {
    match encoding.as_deref() {
        None | Some("identity") => Ok(body),
        Some("gzip" | "x-gzip") => {
            let mut plain = Vec::new();
            let read = MultiGzDecoder::new(body.as_slice())
                .take(limit as u64 + 1)
                .read_to_end(&mut plain);
            match read {
                Ok(_) if plain.len() > limit => Err(too_large(limit)),
                Ok(_) => Ok(plain),
                Err(error) => Err(Fault {
                    error: unavailable(format!(
                        "the schema registry's answer is corrupt gzip: {error}"
                    )),
                    try_again: true,
                }),
            }
        }
        Some(other) => Err(Fault {
            error: Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "the schema registry's answer has the encoding {other:?}, which was not requested"
                ),
            ),
            try_again: false,
        }
        .about("urls")),
    }
}

/// The error of a missing answer: no connection, a broken one, or an untrusted one.
pub(super) fn no_answer(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut root: &dyn std::error::Error = &error;
    let mut untrusted = None;
    while let Some(source) = root.source() {
        root = source;
        // The outermost of these explains it.
        untrusted = untrusted.or_else(|| certificate_error(root));
    }
    let root = root.to_string();
    if let Some(reason) = untrusted {
        let message = format!("TLS with the schema registry failed: {reason}");
        let error = Error::new(ErrorKind::Authentication, message).because(error);
        return Fault {
            error,
            try_again: false,
        };
    }
    let error = unavailable(format!("the schema registry is unreachable: {root}")).because(error);
    Fault {
        error,
        try_again: true,
    }
}

/// OpenSSL's message if one side rejects the other's certificate: by our check, or by an alert (RFC 8446,
/// section 6.2) of the registry. A retry does not help, except after alert 80, `internal_error`.
fn certificate_error(error: &dyn std::error::Error) -> Option<String> {
    let text = error.to_string();
    let lower = text.to_ascii_lowercase();
    let alert = lower.contains("ssl alert number") && !lower.contains("ssl alert number 80");
    (alert || lower.contains("certificate verify failed")).then_some(text)
}

pub(super) fn too_slow(timeout: Duration) -> Fault {
    let message = format!("the schema registry did not answer within {timeout:?}");
    Fault {
        error: unavailable(message),
        try_again: true,
    }
}

pub(super) fn too_large(limit: usize) -> Fault {
    let message = format!("the schema registry's answer is larger than {limit} bytes");
    Fault {
        error: unavailable(message),
        try_again: false,
    }
}

fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{} …", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, body: &str) -> Fault {
        let call = Call::get(&["subjects"]).about_subject("t-value");
        let status = StatusCode::from_u16(status).unwrap();
        read::<serde_json::Value>(status, body.as_bytes(), &call).unwrap_err()
    }

    #[test]
    fn every_status_says_what_to_do() {
        for (status, kind, try_again) in [
            (400, ErrorKind::InvalidConfig, false),
            (401, ErrorKind::Authentication, false),
            (403, ErrorKind::Authorization, false),
            (404, ErrorKind::IncompatibleSchema, false),
            (409, ErrorKind::IncompatibleSchema, false),
            (422, ErrorKind::IncompatibleSchema, false),
            (429, ErrorKind::Unavailable, true),
            (500, ErrorKind::Unavailable, true),
            (503, ErrorKind::Unavailable, true),
        ] {
            let fault = fault(status, r#"{"error_code": 40403, "message": "because"}"#);
            assert_eq!(fault.error.kind(), kind, "{status}");
            assert_eq!(fault.try_again, try_again, "{status}");
            assert!(
                fault.error.message().ends_with(": because"),
                "{}",
                fault.error
            );
        }
    }

    #[test]
    fn a_page_that_is_not_found_is_no_registrys_word_and_not_final() {
        for page in [
            "<html>nothing here</html>",
            r#"{"error_code": 404, "message": "HTTP 404 Not Found"}"#,
        ] {
            let fault = fault(404, page);
            assert_eq!(fault.error.kind(), ErrorKind::Unavailable);
            assert!(fault.try_again && !is_not_found(&fault.error));
            assert_eq!(fault.error.get("setting"), Some("urls"));
            assert!(
                fault.error.message().contains("base URL"),
                "{}",
                fault.error
            );
        }
    }

    #[test]
    fn a_bomb_in_gzip_is_cut_off() {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut zipped, &[b' '; 100_000]).unwrap();
        let zipped = zipped.finish().unwrap();
        let gzip = || Some("gzip".to_owned());
        let Ok(plain) = decoded(gzip(), zipped.clone(), 100_000) else {
            panic!("it fits");
        };
        assert_eq!(plain.len(), 100_000);
        assert!(decoded(gzip(), zipped, 99_999).is_err());
        assert!(decoded(gzip(), b"no gzip".to_vec(), 100).is_err());
        assert!(decoded(Some("br".to_owned()), Vec::new(), 100).is_err());
    }

    #[test]
    fn garbage_is_asked_again_and_a_long_message_is_cut() {
        let garbage = fault(200, "<html>");
        assert_eq!(
            (garbage.error.kind(), garbage.try_again),
            (ErrorKind::Unavailable, true)
        );
        let long = format!(
            r#"{{"error_code": 409, "message": "{}"}}"#,
            "é".repeat(10_000)
        );
        assert!(fault(409, &long).error.message().chars().count() < MAX_MESSAGE + 200);
    }
}
