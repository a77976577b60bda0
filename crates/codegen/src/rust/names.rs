//! Avro's names as Rust's.

/// `AuditAPICallEvent` to `audit_api_call_event`, `latencyMs` to `latency_ms`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, &char) in chars.iter().enumerate() {
        if char.is_uppercase() && index > 0 {
            let after_word = !chars[index - 1].is_uppercase();
            let before_word = chars.get(index + 1).is_some_and(|next| next.is_lowercase());
            if (after_word || before_word) && !snake.ends_with('_') {
                snake.push('_');
            }
        }
        snake.extend(char.to_lowercase());
    }
    snake
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
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            format!("{}{}", first.to_uppercase(), rest.to_lowercase())
        })
        .collect()
}

/// The variant of an event: `AuditAPICallEvent` to `AuditAPICall`.
pub(crate) fn variant(record: &str) -> &str {
    record.strip_suffix("Event").unwrap_or(record)
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
