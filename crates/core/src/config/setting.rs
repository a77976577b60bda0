//! How settings are declared: type, default, environment variable, librdkafka property and
//! documentation, each once.
//!
//! [`settings!`] turns a declaration into the struct with its serde form, `Default`, chained setters,
//! `from_env`, the mapping to librdkafka's properties and a table of [`Setting`]s. The reference
//! documentation and the options of the Python and Node packages are generated from that table.

use std::borrow::Cow;
use std::time::Duration;

use super::{Secret, Urls};

/// One setting, for documentation and bindings.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The group: `connection`, `registry`, `producer` or `consumer`.
    pub group: &'static str,
    /// The name in every serialised form, such as `delivery_timeout_ms`.
    pub name: &'static str,
    /// The environment variable, if it has one.
    pub env: Option<&'static str>,
    /// The librdkafka property that it becomes, if there is one.
    pub property: Option<&'static str>,
    /// The type of its values.
    pub kind: SettingKind,
    /// Whether it may have no value.
    pub optional: bool,
    /// The default as text; `None` if it has none.
    pub default: fn() -> Option<String>,
    /// Whether its value is secret and never shown.
    pub secret: bool,
    pub(crate) doc: &'static [&'static str],
}

impl Setting {
    /// The name beside settings of other groups: those of the registry have a prefix.
    pub fn option(&self) -> Cow<'static, str> {
        match (self.group, self.name) {
            ("registry", "urls") => "schema_registry_url".into(),
            ("registry", name) => format!("registry_{name}").into(),
            (_, name) => name.into(),
        }
    }

    /// What it does, in Markdown.
    pub fn doc(&self) -> String {
        self.doc
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The type of a setting's value in JSON and in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number that is not negative.
    Integer,
    /// A time in whole milliseconds.
    Milliseconds,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// A list of texts; one comma-separated text in the environment.
    List,
    /// Values by name; `name=value,…` in the environment.
    Map,
}

/// A type that a setting can have: how it is read from text and shown.
pub(crate) trait SettingValue: Sized {
    const KIND: SettingKind;
    const OPTIONAL: bool = false;
    const SECRET: bool = false;

    /// Reads a value from text; the error says what is expected.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as text, a secret one redacted; `None` if there is no value.
    fn show(&self) -> Option<String>;

    /// The value as librdkafka reads it, in clear.
    fn property(&self) -> Option<String> {
        self.show()
    }
}

impl SettingValue for String {
    const KIND: SettingKind = SettingKind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl SettingValue for Secret {
    const KIND: SettingKind = SettingKind::Text;
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn property(&self) -> Option<String> {
        Some(self.expose().to_owned())
    }
}

impl SettingValue for bool {
    const KIND: SettingKind = SettingKind::Boolean;

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl SettingValue for $integer {
            const KIND: SettingKind = SettingKind::Integer;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("must be a whole number from 0 to {}", Self::MAX))
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
integers!(u32 u64);

impl SettingValue for Duration {
    const KIND: SettingKind = SettingKind::Milliseconds;

    fn parse(text: &str) -> Result<Self, String> {
        u64::parse(text)
            .map(Duration::from_millis)
            .map_err(|_| "must be whole milliseconds".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.as_millis().to_string())
    }
}

impl SettingValue for Urls {
    const KIND: SettingKind = SettingKind::List;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.shown().join(","))
    }
}

impl<T: SettingValue> SettingValue for Option<T> {
    const KIND: SettingKind = T::KIND;
    const OPTIONAL: bool = true;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }

    fn property(&self) -> Option<String> {
        self.as_ref().and_then(T::property)
    }
}

/// Durations as whole milliseconds in serialised settings.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Declares a settings struct. A field reads
///
/// ```text
/// /// What it does.
/// name: Type as Argument = default, key "serialised_name", env "VARIABLE",
///     property "librdkafka.name" by Form, clears [other];
/// ```
///
/// where `as Argument` makes the setter take `impl Into<Argument>`, `key` names a duration's unit in
/// the serialised form, `env` is the environment variable, `property` is the librdkafka property that
/// the setting becomes (`by` a [`Form`](super::mapping::Form) unless librdkafka reads the value as it
/// is), and `clears` are the settings that an explicit value here replaces.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $group:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $type:ty $(as $argument:ty)? = $default:expr
                    $(, key $key:literal)? $(, env $env:literal)?
                    $(, property $property:literal $(by $form:ty)?)?
                    $(, clears [$($other:ident),+])?;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde(rename = $key, with = "crate::config::setting::milliseconds")])?
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)+ }
            }
        }

        impl $name {
            /// Every setting of this group.
            pub const SETTINGS: &'static [$crate::config::Setting] = &[$(
                $crate::config::Setting {
                    group: $group,
                    name: $crate::config::setting::settings!(@name $field $($key)?),
                    env: $crate::config::setting::settings!(@maybe $($env)?),
                    property: $crate::config::setting::settings!(@maybe $($property)?),
                    kind: <$type as $crate::config::setting::SettingValue>::KIND,
                    optional: <$type as $crate::config::setting::SettingValue>::OPTIONAL,
                    default: || {
                        let default: $type = $default;
                        $crate::config::setting::SettingValue::show(&default)
                    },
                    doc: &[$($doc),+],
                    secret: <$type as $crate::config::setting::SettingValue>::SECRET,
                },
            )+];

            /// The defaults, overridden by the environment variables that are set.
            pub fn from_env() -> $crate::Result<Self> {
                Self::from_lookup($crate::config::process_env)
            }

            /// Like [`Self::from_env`], with the variables from `lookup`. An empty variable counts as
            /// not set.
            pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> $crate::Result<Self> {
                let mut settings = Self::default();
                $($(
                    if let Some(value) = $crate::config::env_value(&lookup, $env)? {
                        settings.$field = value;
                    }
                )?)+
                let _ = (&mut settings, &lookup);
                Ok(settings)
            }

            /// Sets one setting by its serialised name, as its setter does; `None` if no setting has
            /// that name. Text is read as in the environment; errors call the setting `shown`.
            pub(super) fn set(
                &mut self,
                name: &str,
                shown: &str,
                value: &serde_json::Value,
            ) -> Option<$crate::Result<()>> {
                $(
                    if name == $crate::config::setting::settings!(@name $field $($key)?) {
                        let read = match value {
                            serde_json::Value::String(text) => {
                                $crate::config::parse_value(shown, text)
                            }
                            // Through the struct's own serialised form, which knows units.
                            other => serde_json::from_value(serde_json::json!({ name: other }))
                                .map(|given: Self| given.$field)
                                .map_err(|error| {
                                    $crate::config::refused::<$type>(shown, &error)
                                }),
                        };
                        return Some(read.map(|value| {
                            self.$field = value;
                            $($(self.$other = None;)+)?
                        }));
                    }
                )+
                None
            }

            $($crate::config::setting::settings! {
                @setter [$($doc)+] $field $type [$($argument)?] [$($($other)+)?]
            })+
        }

        impl $crate::config::mapping::Mapped for $name {
            fn write(&self, properties: &mut $crate::config::mapping::PropertyMap) {
                $($(
                    let value = <$crate::config::setting::settings!(@form $($form)?)
                        as $crate::config::mapping::Form<$type>>::write(&self.$field);
                    if let Some(value) = value {
                        properties.set($property, value);
                    }
                )?)+
                let _ = properties;
            }

            fn read(&mut self, property: &str, value: &str) -> Result<(), String> {
                $($(
                    if property == $property {
                        return <$crate::config::setting::settings!(@form $($form)?)
                            as $crate::config::mapping::Form<$type>>::read(value, &mut self.$field);
                    }
                )?)+
                let _ = (property, value);
                Ok(())
            }
        }
    };

    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@maybe) => { None };
    (@maybe $given:literal) => { Some($given) };
    (@form) => { $crate::config::mapping::Plain };
    (@form $form:ty) => { $form };
    (@setter [$($doc:literal)+] $field:ident $type:ty [] [$($other:ident)*]) => {
        $(#[doc = $doc])+
        #[must_use]
        pub fn $field(mut self, value: $type) -> Self {
            self.$field = value;
            $(self.$other = None;)*
            self
        }
    };
    (@setter [$($doc:literal)+] $field:ident $type:ty [$argument:ty] [$($other:ident)*]) => {
        $(#[doc = $doc])+
        #[must_use]
        pub fn $field(mut self, value: impl Into<$argument>) -> Self {
            self.$field = <$type as From<$argument>>::from(value.into());
            $(self.$other = None;)*
            self
        }
    };
}
pub(crate) use settings;

/// Declares an enum of words for a setting.
macro_rules! choices {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// Words in any case; `_` and `-` are the same.
        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let given = text.trim().replace('_', "-");
                $(if given.eq_ignore_ascii_case(&$text.replace('_', "-")) {
                    return Ok($name::$variant);
                })+
                Err(format!("must be one of {}", [$($text),+].join(", ")))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl $crate::config::setting::SettingValue for $name {
            const KIND: $crate::config::SettingKind =
                $crate::config::SettingKind::Choice(&[$($text),+]);

            fn parse(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    };
}
pub(crate) use choices;
