//! How settings are declared: one macro states a setting's type, default, environment variable and
//! documentation once, and everything that needs them is made from that.
//!
//! [`settings!`] turns a declaration into the struct with its serde form, `Default`, chained setters,
//! `from_env` and a table of [`Setting`]s, from which the reference documentation and the options of
//! the Python and Node packages are generated.

use std::borrow::Cow;
use std::time::Duration;

use super::{Secret, Urls};

/// One setting as the documentation and the bindings see it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The group: `connection`, `registry`, `producer` or `consumer`.
    pub group: &'static str,
    /// The name in every serialised form, such as `delivery_timeout_ms`.
    pub name: &'static str,
    /// The environment variable, where it has one.
    pub env: Option<&'static str>,
    /// What values look like.
    pub kind: SettingKind,
    /// Whether the setting may be left without any value.
    pub optional: bool,
    /// The default as text; `None` where there is no value until one is given.
    pub default: fn() -> Option<String>,
    /// Whether its value is never shown.
    pub secret: bool,
    pub(crate) doc: &'static [&'static str],
}

impl Setting {
    /// The name beside the settings of other groups: the registry's say whose they are.
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

/// A type that a setting can have: how it is written as text.
pub(crate) trait SettingValue: Sized {
    const KIND: SettingKind;
    const OPTIONAL: bool = false;
    const SECRET: bool = false;

    /// Reads a value from the environment; the error says what is expected.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as text; `None` where there is none.
    fn show(&self) -> Option<String>;
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
/// name: Type as Argument = default, key "serialised_name", env "VARIABLE", clears [other];
/// ```
///
/// where `as Argument` makes the setter take `impl Into<Argument>`, `key` names a duration's unit in
/// the serialised form, `env` is the environment variable, and `clears` are the settings that an
/// explicit value here replaces.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $group:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $type:ty $(as $argument:ty)? = $default:expr
                    $(, key $key:literal)? $(, env $env:literal)? $(, clears [$($other:ident),+])?;
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
                    env: $crate::config::setting::settings!(@env $($env)?),
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

            /// Like [`Self::from_env`] with the variables taken from `lookup`. An empty one counts
            /// as not set.
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

            /// Sets one setting by its name in every serialised form, as the setter does; `None` where
            /// there is none of that name. Text is read as in the environment; errors call it `shown`.
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
    };

    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@env) => { None };
    (@env $env:literal) => { Some($env) };
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

/// Declares an enum of words that a setting can be.
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
            /// The word for it.
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
