//! Times on the command line.

use crate::format;

/// A point in time, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Milliseconds since 1970-01-01T00:00:00 UTC.
    AtMs(i64),
    /// Milliseconds ago.
    AgoMs(i64),
}

impl When {
    /// The moment, in milliseconds UTC.
    pub(super) fn at(self, now_ms: i64) -> i64 {
        match self {
            When::AtMs(at_ms) => at_ms,
            When::AgoMs(ago_ms) => now_ms.saturating_sub(ago_ms).max(0),
        }
    }
}

/// Reads `2026-11-23T12:00:00Z` (or another offset), a date and time of this machine's time zone
/// (`2026-11-23`, `2026-11-23T12:00`), or how long ago (`2h`).
pub(super) fn parse(text: &str) -> Result<When, String> {
    let text = text.trim();
    if let Ok(ago) = format::parse_duration(text) {
        return Ok(When::AgoMs(
            i64::try_from(ago.as_millis()).unwrap_or(i64::MAX),
        ));
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(When::AtMs(timestamp.as_millisecond()));
    }
    let local = text.parse::<jiff::civil::DateTime>();
    let zoned = local.and_then(|local| local.to_zoned_datetime(jiff::tz::TimeZone::system()));
    zoned.map(|zoned| When::AtMs(zoned.timestamp().as_millisecond())).map_err(|_| {
        "must be a time such as 2026-11-23T12:00:00Z, 2026-11-23T12:00 (local), or 2h for two hours \
         ago"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_how_long_ago() {
        assert_eq!(parse("2h"), Ok(When::AgoMs(7_200_000)));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(When::AtMs(1000)));
        assert_eq!(parse("1970-01-01T01:00:01+01:00"), Ok(When::AtMs(1000)));
        assert!(matches!(parse("2026-11-23"), Ok(When::AtMs(_))));
        for wrong in ["", "yesterday", "2026-13-01", "12:00"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(When::AgoMs(500).at(1500), 1000);
    }
}
