//! Timestamps in text.

/// Milliseconds since 1970-01-01T00:00:00 UTC of an RFC 3339 timestamp, rounded down.
///
/// As ISO 8601 and Python's `isoformat` have it, the offset may be missing, which means UTC, and so
/// may its colon, the seconds, and the time of day; a space may stand for the `T`.
pub(super) fn parse(text: &str) -> Option<i64> {
    let mut rest = Digits(text.trim().as_bytes());
    let year = rest.number(4)?;
    rest.byte(b"-")?;
    let month = rest.number(2)?;
    rest.byte(b"-")?;
    let day = rest.number(2)?;
    let in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=in_month).contains(&day) {
        return None;
    }
    let mut time_ms = 0;
    if rest.byte(b"Tt ").is_some() {
        time_ms = time_of_day_ms(&mut rest)?;
    }
    rest.0
        .is_empty()
        .then_some(days(year, month, day) * 86_400_000 + time_ms)
}

/// From midnight UTC; the offset may lead into the day before or after.
fn time_of_day_ms(rest: &mut Digits<'_>) -> Option<i64> {
    let hour = rest.number(2)?;
    rest.byte(b":")?;
    let minute = rest.number(2)?;
    let mut second = 0;
    let mut ms = 0;
    if rest.byte(b":").is_some() {
        second = rest.number(2)?;
        if rest.byte(b".,").is_some() {
            let digits = rest
                .0
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let (fraction, after) = rest.0.split_at(digits);
            if fraction.is_empty() {
                return None;
            }
            rest.0 = after;
            let digit = |place| {
                fraction
                    .get(place)
                    .map_or(0, |digit| i64::from(digit - b'0'))
            };
            ms = digit(0) * 100 + digit(1) * 10 + digit(2);
        }
    }
    // A leap second is the first one of the next minute, as POSIX time has it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    Some(time_ms - offset_minutes(rest)? * 60_000)
}

fn offset_minutes(rest: &mut Digits<'_>) -> Option<i64> {
    let sign = match rest.byte(b"Zz+-") {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let hours = rest.number(2)?;
    let colon = rest.byte(b":").is_some();
    let minutes = if colon || !rest.0.is_empty() {
        rest.number(2)?
    } else {
        0
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day
/// is the last one: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// A number of so many digits.
    fn number(&mut self, len: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    }

    /// One of these bytes.
    fn byte(&mut self, any: &[u8]) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        any.contains(byte).then(|| {
            self.0 = rest;
            *byte
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_write_a_timestamp_are_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123),
            ("2023-11-14T22:13:20.9999999+00:00", 1_700_000_000_999),
            ("2023-11-14T22:13:20,5", 1_700_000_000_500),
            ("2023-11-14 22:13:20", 1_700_000_000_000),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000),
            ("2023-11-14t14:13:20-0800", 1_700_000_000_000),
            ("2023-11-14T22:13z", 1_699_999_980_000),
            ("2023-11-14", 1_699_920_000_000),
            (" 2023-11-14 ", 1_699_920_000_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "now",
            "2023",
            "2023-1-1",
            "2023-13-01",
            "2023-02-29",
            "1900-02-29T00:00:00Z",
            "2023-11-14T",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20Zjunk",
            "2023-11-14T22:13:20+2",
            "2023-11-14T22:13:20+02:0",
            "٢٠٢٣-11-14",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
