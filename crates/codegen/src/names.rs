//! The schemas' names as each language writes them.

use heck::{ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};

use crate::model::Topic;

/// `AuditAPICallEvent` to `audit_api_call_event`, `latencyMs` to `latency_ms`.
pub(crate) fn snake(name: &str) -> String {
    name.to_snake_case()
}

/// [`snake`], or with `r#` before it where that is a word of Rust's own.
pub(crate) fn ident(name: &str) -> String {
    const KEYWORDS: [&str; 37] = [
        "as", "async", "await", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
        "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "match",
        "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "true", "type",
        "use", "where", "while",
    ];
    let snake = snake(name);
    if KEYWORDS.contains(&snake.as_str()) {
        format!("r#{snake}")
    } else {
        snake
    }
}

/// `audit-api-calls` to `AuditApiCalls`, `COMPACT_AND_DELETE` to `CompactAndDelete`.
pub(crate) fn camel(name: &str) -> String {
    name.to_upper_camel_case()
}

/// The variant of an event: `AuditAPICallEvent` to `AuditAPICall`.
pub(crate) fn variant(record: &str) -> &str {
    record.strip_suffix("Event").unwrap_or(record)
}

/// The names of a topic's members in the enums `EventType` and `Topic` of the platform's first
/// producer files: `API_CALL` for `AuditAPICallEvent`, `AUDIT_ADMIN_OPS` for
/// `audit-admin-operations`.
pub(crate) fn members(topic: &Topic) -> (String, String) {
    let (event, name) = full_members(topic);
    let short = event.strip_prefix("AUDIT_").map(str::to_owned);
    (short.unwrap_or(event), name.replace("_OPERATIONS", "_OPS"))
}

/// The same names in full: `AUDIT_API_CALL`, `AUDIT_ADMIN_OPERATIONS`.
pub(crate) fn full_members(topic: &Topic) -> (String, String) {
    let event = variant(&topic.event.record.name).to_shouty_snake_case();
    (event, topic.name.to_shouty_snake_case())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_words() {
        assert_eq!(snake("AuditAPICallEvent"), "audit_api_call_event");
        assert_eq!(snake("latencyMs"), "latency_ms");
        assert_eq!(snake("ipAddress"), "ip_address");
        assert_eq!(snake("already_snake"), "already_snake");
        assert_eq!(ident("type"), "r#type");
        assert_eq!(camel("audit-api-calls"), "AuditApiCalls");
        assert_eq!(camel("SUCCESS"), "Success");
        assert_eq!(variant("AuditAPICallEvent"), "AuditAPICall");
    }
}
