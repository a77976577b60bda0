//! Conditions on fields of an event.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::Value;

/// `field<operator>value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// The path to the value: a field, and an entry of a map.
    path: Vec<String>,
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

/// Two characters first: each starts with one of the others.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("~", Operator::Contains),
];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "must be FIELD=VALUE, or with !=, <, <=, >, >= or ~ (contains) instead of =".to_owned()
        };
        let place = text.find(['!', '<', '>', '=', '~']).ok_or_else(expected)?;
        let (field, rest) = text.split_at(place);
        let known = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign));
        let (sign, operator) = known.ok_or_else(expected)?;
        let path: Vec<String> = field.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(expected());
        }
        // `a==b` is accepted, too.
        let value = rest[sign.len()..]
            .strip_prefix('=')
            .unwrap_or(&rest[sign.len()..]);
        Ok(Condition {
            path,
            operator: *operator,
            value: value.trim().to_owned(),
        })
    }
}

impl Condition {
    /// Whether it holds for an event, as JSON. A missing field is null.
    pub(super) fn holds(&self, event: &Value) -> bool {
        let found = look_up(event, &self.path).unwrap_or(&Value::Null);
        match self.operator {
            Operator::Equal => self.equals(found),
            Operator::NotEqual => !self.equals(found),
            Operator::Contains => text(found).is_some_and(|text| text.contains(&self.value)),
            ordered => {
                let Some(ordering) = self.compare(found) else {
                    return false;
                };
                match ordered {
                    Operator::Less => ordering == Ordering::Less,
                    Operator::LessOrEqual => ordering != Ordering::Greater,
                    Operator::Greater => ordering == Ordering::Greater,
                    _ => ordering != Ordering::Less,
                }
            }
        }
    }

    fn equals(&self, found: &Value) -> bool {
        match found {
            Value::Null => self.value == "null",
            Value::Number(_) => self.compare(found) == Some(Ordering::Equal),
            other => text(other).is_some_and(|text| text == self.value),
        }
    }

    /// Compares the event's value with the condition's: as numbers if the event's is one, else as
    /// text. Null is neither less nor greater than any value.
    fn compare(&self, found: &Value) -> Option<Ordering> {
        match found {
            Value::Null => None,
            Value::Number(number) => match (number.as_i64(), self.value.parse::<i64>()) {
                (Some(number), Ok(value)) => Some(number.cmp(&value)),
                _ => number
                    .as_f64()?
                    .partial_cmp(&self.value.parse::<f64>().ok()?),
            },
            other => text(other).map(|text| text.as_str().cmp(&self.value)),
        }
    }
}

/// The value at a path. A map's entries may have dots in their names, so the rest of the path is tried
/// as one name before it is split.
fn look_up<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    match value.get(path.join(".")) {
        Some(found) => Some(found),
        None => look_up(value.get(first)?, rest),
    }
}

/// The value as text: a string as it is, anything else as JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str) -> bool {
        let event = json!({
            "statusCode": 503,
            "errorRate": 0.25,
            "service": "checkout",
            "userId": null,
            "sensitive": true,
            "details": { "region": "eu", "a.b": "dotted" },
            "columns": ["email", "name"],
            "big": 9_007_199_254_740_993_i64,
        });
        condition.parse::<Condition>().unwrap().holds(&event)
    }

    #[test]
    fn fields_are_compared_by_their_type() {
        for yes in [
            "statusCode=503",
            "statusCode==503",
            "statusCode >= 500",
            "statusCode<1000",
            "statusCode!=200",
            "errorRate<=0.25",
            "errorRate>0",
            "service=checkout",
            "service!=billing",
            "service~check",
            "service>billing",
            "userId=null",
            "sensitive=true",
            "details.region=eu",
            "details.a.b=dotted",
            "columns~email",
            "missing=null",
            "missing!=x",
            "big=9007199254740993",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "statusCode=5",
            "statusCode>503",
            "statusCode<abc",
            "service=check",
            "userId=",
            "userId>0",
            "details.region=us",
            "details.zone=eu",
            "missing~x",
            "big=9007199254740992",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for wrong in ["", "service", "=x", "a..b=1", "!x", "service!x"] {
            assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
        }
    }
}
