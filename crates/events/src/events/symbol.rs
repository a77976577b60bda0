//! What the generated enums share.

use crate::avro::{Reader, Writer};
use crate::error::{Error, ErrorKind, Result};

/// An Avro enum.
pub(super) trait Symbol: Copy + 'static {
    /// Every value, in the order of the schema, which is that of the indices on the wire.
    const ALL: &'static [Self];

    /// The symbol, as the schema has it.
    fn as_str(self) -> &'static str;

    /// Its place in the schema.
    fn index(self) -> i32;
}

/// Reads an enum's index.
#[inline(always)]
pub(super) fn read<S: Symbol>(reader: &mut Reader<'_>, field: &str) -> Result<S> {
    let left = reader.rest().len();
    let index = reader.long(field)?;
    match usize::try_from(index)
        .ok()
        .and_then(|index| S::ALL.get(index))
    {
        Some(symbol) => Ok(*symbol),
        None => Err(reader.fault_at(left, field, "the enum has no such symbol")),
    }
}

/// Writes an enum's index.
#[inline(always)]
pub(super) fn write<S: Symbol>(writer: &mut Writer<'_>, symbol: S) {
    writer.int(symbol.index());
}

/// The value of a symbol.
pub(super) fn parse<S: Symbol>(name: &str, text: &str) -> Result<S> {
    let found = S::ALL.iter().find(|symbol| symbol.as_str() == text);
    found.copied().ok_or_else(|| {
        let symbols: Vec<_> = S::ALL.iter().map(|symbol| symbol.as_str()).collect();
        let message = format!("{name} must be one of {}", symbols.join(", "));
        Error::new(ErrorKind::InvalidEvent, message)
    })
}

/// Defines an enum with its symbols and what goes with them.
macro_rules! symbols {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$symbol_doc:meta])* $variant:ident = $symbol:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$symbol_doc])* $variant,)*
        }

        impl $name {
            /// Every value, in the order of the schema.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The symbol, as it stands in the schema and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $symbol,)*
                }
            }
        }

        impl $crate::events::symbol::Symbol for $name {
            const ALL: &'static [$name] = $name::ALL;

            fn as_str(self) -> &'static str {
                $name::as_str(self)
            }

            #[inline(always)]
            fn index(self) -> i32 {
                self as i32
            }
        }

        $crate::events::items::plain_element!(
            $name,
            $crate::events::symbol::write,
            $crate::events::symbol::read
        );

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(text: &str) -> $crate::Result<Self> {
                $crate::events::symbol::parse(stringify!($name), text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

pub(super) use symbols;
