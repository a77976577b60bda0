//! How settings become librdkafka properties, and how the user's properties override them.
//!
//! ```text
//! settings --Mapped::write--> PropertyMap --apply_user_properties--> into_config --> ClientConfig
//! settings <--Mapped::read--- the user's properties
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::properties::{check, preferred_name};
use super::setting::SettingValue;
use super::{Acks, Properties, SecurityProtocol, StartPosition, invalid, settings};
use crate::Result;

/// Settings of which some name a property in their declaration.
pub(crate) trait Mapped: Sized {
    /// Sets the property of each setting that has one and a value.
    fn write(&self, properties: &mut PropertyMap);

    /// Sets the setting of a property; ignores a property without one.
    fn read(&mut self, property: &str, value: &str) -> Result<(), String>;

    /// The settings overridden by the user's properties.
    fn overridden_by(mut self, properties: &Properties) -> Result<Self> {
        for (name, value) in properties.iter() {
            self.read(preferred_name(name), value)
                .map_err(|expected| invalid(name, format!("{name}={value}: {expected}")))?;
        }
        Ok(self)
    }
}

/// How a setting's value is written as a property, where librdkafka does not read it as it is.
pub(super) trait Form<T> {
    /// `None` leaves the property unset.
    fn write(value: &T) -> Option<String>;

    fn read(text: &str, value: &mut T) -> Result<(), String>;
}

/// As it is.
pub(super) struct Plain;

impl<T: SettingValue> Form<T> for Plain {
    fn write(value: &T) -> Option<String> {
        value.property()
    }

    fn read(text: &str, value: &mut T) -> Result<(), String> {
        T::parse(text).map(|read| *value = read)
    }
}

/// Bytes as kilobytes, rounded up, from 1 to `MOST`.
pub(super) struct Kilobytes<const MOST: u64>;

impl<const MOST: u64> Form<u64> for Kilobytes<MOST> {
    fn write(value: &u64) -> Option<String> {
        Some(value.div_ceil(1024).clamp(1, MOST).to_string())
    }

    fn read(text: &str, value: &mut u64) -> Result<(), String> {
        u64::parse(text).map(|read| *value = read.saturating_mul(1024))
    }
}

/// A number from `LEAST` to `MOST`.
pub(super) struct Within<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64, T> Form<T> for Within<LEAST, MOST>
where
    T: SettingValue + Copy + Into<u64>,
{
    fn write(value: &T) -> Option<String> {
        Some((*value).into().clamp(LEAST, MOST).to_string())
    }

    fn read(text: &str, value: &mut T) -> Result<(), String> {
        Plain::read(text, value)
    }
}

/// A time with fractions of a millisecond.
pub(super) struct FractionalMs;

impl Form<Duration> for FractionalMs {
    fn write(value: &Duration) -> Option<String> {
        Some((value.as_secs_f64() * 1000.0).to_string())
    }

    fn read(text: &str, value: &mut Duration) -> Result<(), String> {
        let millis: Option<f64> = text.parse().ok();
        let read = millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        *value = read.ok_or("must be milliseconds")?;
        Ok(())
    }
}

/// A time limit in 32 bits of milliseconds; 0 is no limit, and so is a longer time.
pub(super) struct LimitMs;

impl Form<Duration> for LimitMs {
    fn write(value: &Duration) -> Option<String> {
        Some(i32::try_from(value.as_millis()).unwrap_or(0).to_string())
    }

    fn read(text: &str, value: &mut Duration) -> Result<(), String> {
        Plain::read(text, value)?;
        if value.is_zero() {
            *value = Duration::MAX;
        }
        Ok(())
    }
}

/// `-1` is `all`, too.
pub(super) struct AcksOrCount;

impl Form<Acks> for AcksOrCount {
    fn write(value: &Acks) -> Option<String> {
        value.property()
    }

    fn read(text: &str, value: &mut Acks) -> Result<(), String> {
        Plain::read(if text == "-1" { "all" } else { text }, value)
    }
}

/// In lower case.
pub(super) struct Lowercase;

impl Form<SecurityProtocol> for Lowercase {
    fn write(value: &SecurityProtocol) -> Option<String> {
        Some(value.as_str().to_ascii_lowercase())
    }

    fn read(text: &str, value: &mut SecurityProtocol) -> Result<(), String> {
        Plain::read(text, value)
    }
}

/// The oldest or the newest record; the consumer seeks to offsets and timestamps itself.
pub(super) struct OldestOrNewest;

impl Form<StartPosition> for OldestOrNewest {
    fn write(value: &StartPosition) -> Option<String> {
        let name = match value {
            StartPosition::Latest => "latest",
            _ => "earliest",
        };
        Some(name.to_owned())
    }

    fn read(text: &str, value: &mut StartPosition) -> Result<(), String> {
        match text {
            "earliest" | "smallest" | "beginning" => *value = StartPosition::Earliest,
            "latest" | "largest" | "end" => *value = StartPosition::Latest,
            _ => {}
        }
        Ok(())
    }
}

/// The name of the setting that becomes this property.
pub(super) fn setting_of(property: &str) -> Option<&'static str> {
    settings()
        .find(|setting| setting.property == Some(property))
        .map(|setting| setting.name)
}

/// Properties under their preferred names; a later value replaces an earlier one.
#[derive(Default)]
pub(crate) struct PropertyMap(BTreeMap<String, String>);

impl PropertyMap {
    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
        self.0
            .insert(preferred_name(name).to_owned(), value.to_string());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(preferred_name(name)).map(String::as_str)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// The configuration, after librdkafka has accepted every value: a setting may be out of its
    /// range.
    pub(super) fn into_config(self) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        for (name, value) in &self.0 {
            config.set(name, value);
        }
        match config.create_native_config() {
            Ok(_) => Ok(config),
            Err(KafkaError::ClientConfig(_, reason, name, _)) => {
                Err(invalid(setting_of(&name).unwrap_or(&name), reason))
            }
            Err(_) => Err(invalid("connection", "a setting contains a NUL byte")),
        }
    }
}

/// Checks the user's properties with librdkafka and lets them override the settings'.
pub(super) fn apply_user_properties(ours: &mut PropertyMap, user: &Properties) -> Result<()> {
    let mut by_name: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in user.iter() {
        check(name, value)?;
        if let Some(other) = by_name.insert(preferred_name(name), name) {
            let message = format!("`{other}` and `{name}` are the same property: set one of them");
            return Err(invalid(name, message));
        }
        // A file given as a property replaces PEM text of a setting, and the other way round.
        for other in PEM_OR_FILE
            .iter()
            .filter(|pair| pair.contains(&name))
            .flatten()
        {
            ours.remove(other);
        }
        ours.set(name, value);
    }
    // librdkafka rejects idempotence without acks=all. Fewer acknowledgements turn it off unless it
    // is set explicitly, as in the Java client.
    let all_acks = ours
        .get("acks")
        .is_none_or(|acks| acks == "all" || acks == "-1");
    if !all_acks && !by_name.contains_key("enable.idempotence") {
        ours.set("enable.idempotence", false);
    }
    Ok(())
}

/// Properties of which only one may give a certificate or key; PEM text wins.
pub(super) const PEM_OR_FILE: [[&str; 2]; 3] = [
    ["ssl.ca.pem", "ssl.ca.location"],
    ["ssl.certificate.pem", "ssl.certificate.location"],
    ["ssl.key.pem", "ssl.key.location"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_acknowledgements_give_up_idempotence_unless_it_is_asked_for() {
        let applied = |user: &[(&str, &str)]| {
            let mut ours = PropertyMap::default();
            ours.set("enable.idempotence", true);
            ours.set("acks", "all");
            apply_user_properties(&mut ours, &user.iter().copied().collect()).unwrap();
            ours.get("enable.idempotence").map(str::to_owned)
        };
        assert_eq!(applied(&[("acks", "1")]).as_deref(), Some("false"));
        assert_eq!(applied(&[("acks", "-1")]).as_deref(), Some("true"));
        assert_eq!(
            applied(&[("acks", "1"), ("enable.idempotence", "true")]).as_deref(),
            Some("true")
        );
    }

    #[test]
    fn one_property_under_two_names_is_refused() {
        let user: Properties = [("linger.ms", "1"), ("queue.buffering.max.ms", "2")]
            .into_iter()
            .collect();
        let error = apply_user_properties(&mut PropertyMap::default(), &user).unwrap_err();
        assert!(error.message().contains("the same property"), "{error}");
    }
}
