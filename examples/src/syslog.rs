//! The head of a line in a syslog file: when, on which host, by which program.
//!
//! ```text
//! May 17 10:05:03 gate sshd[1291]: Accepted publickey for ada from 192.0.2.7 port 54259 ssh2
//! 2025-05-17T10:05:03.120+02:00 gate sshd[1291]: …
//! ```
//!
//! The older of the two forms (RFC 3164) names neither year nor time zone. The zone is the caller's
//! to know. The year is the latest in which the line is not newer than the whole log; so a log of
//! up to a year is dated right, over New Year too.

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Clocks may differ by so much before a line is taken to be of the year before.
const SLACK: SignedDuration = SignedDuration::from_hours(24);
/// February 29 may be as many years away, around 2100.
const YEARS: i16 = 8;

/// What the lines of a log do not say about their times.
pub struct Clock {
    /// When the log ended: no line is newer.
    pub end: Timestamp,
    /// The zone of the host that wrote it.
    pub zone: TimeZone,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'l> {
    /// When it was written, in milliseconds UTC.
    pub timestamp_ms: i64,
    /// The host that wrote it.
    pub host: &'l str,
    /// The program that wrote it; empty where the line names none.
    pub program: &'l str,
    /// Its process id.
    pub pid: Option<&'l str>,
    /// What it says.
    pub message: &'l str,
}

impl Clock {
    /// Takes a line apart, or says what is wrong with it.
    pub fn parse<'l>(&self, line: &'l str) -> Result<Line<'l>, &'static str> {
        let (timestamp, rest) = self.timestamp(line).ok_or("it begins with no time")?;
        let (host, rest) = rest
            .split_once(' ')
            .ok_or("the host or the message is missing")?;
        if host.is_empty() {
            return Err("the host is missing");
        }
        // Remarks of the logger itself (`last message repeated 3 times`) have no program.
        let (tag, message) = match rest.split_once(':') {
            Some((tag, message)) if !tag.contains(' ') => (tag, message.trim_start()),
            _ => ("", rest),
        };
        let (program, pid) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
            Some((program, pid)) => (program, Some(pid)),
            None => (tag, None),
        };
        Ok(Line {
            timestamp_ms: timestamp.as_millisecond(),
            host,
            program,
            pid,
            message,
        })
    }

    fn timestamp<'l>(&self, line: &'l str) -> Option<(Timestamp, &'l str)> {
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            let (time, rest) = line.split_once(' ')?;
            return Some((time.parse().ok()?, rest));
        }
        let (time, rest) = line.split_at_checked("May 17 10:05:03".len())?;
        let rest = rest.strip_prefix(' ')?;
        let mut time = BrokenDownTime::parse("%b %d %H:%M:%S", time).ok()?;
        let newest = self.end.checked_add(SLACK).unwrap_or(self.end);
        let year = self.zone.to_datetime(newest).year();
        let timestamp = (year.saturating_sub(YEARS)..=year).rev().find_map(|year| {
            time.set_year(Some(year)).ok()?;
            let timestamp = self.zone.to_timestamp(time.to_datetime().ok()?).ok()?;
            (timestamp <= newest).then_some(timestamp)
        });
        Some((timestamp?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(end: &str, zone: &str) -> Clock {
        Clock {
            end: end.parse().unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn time(clock: &Clock, line: &str) -> String {
        let line = format!("{line} gate sshd[1]: x");
        let parsed = clock.parse(&line).unwrap();
        Timestamp::from_millisecond(parsed.timestamp_ms)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_line_has_a_time_a_host_a_program_and_a_message() {
        let clock = clock("2025-06-01T00:00:00Z", "UTC");
        let line = clock
            .parse("May  7 10:05:03 gate sshd[1291]: Server: listening")
            .unwrap();
        let expected = Line {
            timestamp_ms: 1_746_612_303_000,
            host: "gate",
            program: "sshd",
            pid: Some("1291"),
            message: "Server: listening",
        };
        assert_eq!(line, expected);
        let sudo = clock
            .parse("May  7 10:05:03 gate sudo:  ada : PWD=/")
            .unwrap();
        assert_eq!(
            (sudo.program, sudo.pid, sudo.message),
            ("sudo", None, "ada : PWD=/")
        );
        let remark = clock
            .parse("May  7 10:05:03 gate last message: 3 times")
            .unwrap();
        assert_eq!(
            (remark.program, remark.message),
            ("", "last message: 3 times")
        );
    }

    #[test]
    fn the_year_is_the_latest_in_which_the_line_is_not_newer_than_the_log() {
        let clock = clock("2025-01-03T12:00:00Z", "UTC");
        assert_eq!(time(&clock, "Jan  3 11:59:59"), "2025-01-03T11:59:59Z");
        assert_eq!(time(&clock, "Jan  4 11:59:59"), "2025-01-04T11:59:59Z");
        assert_eq!(time(&clock, "Jan  4 12:00:01"), "2024-01-04T12:00:01Z");
        assert_eq!(time(&clock, "Dec 31 23:59:59"), "2024-12-31T23:59:59Z");
        assert_eq!(time(&clock, "Feb 29 01:02:03"), "2024-02-29T01:02:03Z");
    }

    #[test]
    fn the_zone_is_the_hosts_unless_the_line_names_it() {
        let clock = clock("2025-12-31T23:30:00Z", "Europe/Berlin");
        assert_eq!(time(&clock, "May 17 10:05:03"), "2025-05-17T08:05:03Z");
        assert_eq!(time(&clock, "Jan  1 00:29:00"), "2025-12-31T23:29:00Z");
        let named = time(&clock, "2024-05-17T10:05:03.120-02:00");
        assert_eq!(named, "2024-05-17T12:05:03.12Z");
    }

    #[test]
    fn a_malformed_line_says_what_is_wrong_with_it() {
        let clock = clock("2025-06-01T00:00:00Z", "UTC");
        for (line, why) in [
            ("", "it begins with no time"),
            ("May 17 10:05", "it begins with no time"),
            ("May 32 10:05:03 gate sshd[1]: x", "it begins with no time"),
            ("Feb 30 10:05:03 gate sshd[1]: x", "it begins with no time"),
            ("Mäy 17 10:05:03 gate sshd[1]: x", "it begins with no time"),
            ("2025-05-17 gate sshd[1]: x", "it begins with no time"),
            ("May 17 10:05:03 gate", "the host or the message is missing"),
            ("May 17 10:05:03  sshd[1]: x", "the host is missing"),
        ] {
            assert_eq!(clock.parse(line).unwrap_err(), why, "{line}");
        }
    }
}
