//! What one field looks like in each of the forms that a record has.

use super::layout;
use super::names::ident;
use crate::model::{Action, Default, Field, Plain, Sensitive, Type};

/// The type of a plain value.
fn plain(plain: &Plain) -> &str {
    match plain {
        Plain::String => "Cow<'a, str>",
        Plain::Int => "i32",
        Plain::Long => "i64",
        Plain::Double => "f64",
        Plain::Boolean => "bool",
        Plain::Enum(name) => name,
    }
}

/// The type of a field.
pub(super) fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Plain(inner) => plain(inner).to_owned(),
        Type::Optional(inner) => format!("Option<{}>", plain(inner)),
        Type::Array(inner) => format!("List<'a, {}>", plain(inner)),
        Type::Records(name) => format!("List<'a, {name}<'a>>"),
        Type::StringMap => "StringMap<'a>".to_owned(),
    }
}

/// Whether a builder must be given the field.
pub(super) fn is_required(field: &Field) -> bool {
    field.default.is_none() && !matches!(field.ty, Type::Optional(_))
}

/// Whether a builder holds the field as it is, because its type has a value for "not given".
fn holds_itself(field: &Field) -> bool {
    match field.ty {
        Type::Optional(_) => true,
        Type::Plain(_) => false,
        Type::Array(_) | Type::Records(_) | Type::StringMap => !is_required(field),
    }
}

/// The type of a field in the builder.
pub(super) fn builder_type(field: &Field) -> String {
    let ty = rust_type(&field.ty);
    if holds_itself(field) {
        ty
    } else {
        format!("Option<{ty}>")
    }
}

/// The type that a setter takes, and how it becomes the builder's.
pub(super) fn setter(field: &Field) -> (String, String) {
    let name = ident(&field.name);
    let ty = rust_type(&field.ty);
    let (takes, value) = match &field.ty {
        Type::Optional(Plain::String) => (
            "impl OptionalText<'a>".to_owned(),
            format!("{name}.into_optional_text()"),
        ),
        Type::Plain(Plain::Boolean | Plain::Enum(_)) => (ty, name),
        _ => (format!("impl Into<{ty}>"), format!("{name}.into()")),
    };
    let value = if holds_itself(field) {
        value
    } else {
        format!("Some({value})")
    };
    (takes, value)
}

/// The field's value when a builder builds.
pub(super) fn built(level: usize, field: &Field) -> String {
    let name = ident(&field.name);
    if holds_itself(field) {
        return format!("{}{name}: self.{name},\n", layout::indent(level));
    }
    if is_required(field) {
        let (value, json) = (format!("self.{name}"), format!("\"{}\"", field.name));
        let head = format!("{name}: check::required");
        return layout::call(level, &head, &[&value, "NAME", &json], "?,");
    }
    let default = match &field.default {
        Some(Default::Boolean(value)) => value.to_string(),
        Some(Default::Integer(value)) => value.to_string(),
        Some(Default::Double(value)) => format!("{value:?}"),
        Some(Default::Text(text)) => match &field.ty {
            Type::Plain(Plain::Enum(name)) => format!("{name}::{}", super::names::camel(text)),
            _ => format!("Cow::Borrowed({text:?})"),
        },
        Some(Default::Null | Default::Empty) | None => "Default::default()".to_owned(),
    };
    format!(
        "{}{name}: self.{name}.unwrap_or({default}),\n",
        layout::indent(level)
    )
}

/// How many lengths, values and branches of at most ten bytes each a field has.
pub(super) fn varints(ty: &Type) -> usize {
    match ty {
        Type::Plain(_) => 1,
        Type::Optional(_) => 2,
        Type::Array(_) | Type::Records(_) | Type::StringMap => 0,
    }
}

/// The bytes that a field takes beyond those, if any. `owner` is what the field is taken from.
pub(super) fn extra_bytes(owner: &str, field: &Field) -> Option<String> {
    let value = format!("{owner}.{}", ident(&field.name));
    let bytes = match &field.ty {
        Type::Plain(Plain::String) => format!("{value}.len()"),
        Type::Optional(Plain::String) => format!("text::optional_len(&{value})"),
        Type::Plain(_) | Type::Optional(_) => return None,
        Type::Array(_) | Type::Records(_) | Type::StringMap => format!("{value}.bound()"),
    };
    let grows = field
        .sensitive
        .as_ref()
        .is_some_and(|sensitive| sensitive.action != Action::Drop);
    Some(if grows {
        format!("{bytes} + sensitive::MAX_GROWTH")
    } else {
        bytes
    })
}

/// The statement that writes a field.
pub(super) fn write(level: usize, owner: &str, field: &Field) -> String {
    let value = format!("{owner}.{}", ident(&field.name));
    let call =
        |method: &str, arg: &str| layout::call(level, &format!("writer.{method}"), &[arg], ";");
    let treated = field
        .sensitive
        .as_ref()
        .map(|sensitive| treated(&value, field, sensitive));
    match &field.ty {
        Type::Plain(Plain::String) => match treated {
            Some(treated) => call("string", &format!("&{treated}")),
            None => call("string", &format!("&{value}")),
        },
        Type::Plain(Plain::Int) => call("int", &value),
        Type::Plain(Plain::Long) => call("long", &value),
        Type::Plain(Plain::Double) => call("double", &value),
        Type::Plain(Plain::Boolean) => call("boolean", &value),
        Type::Plain(Plain::Enum(_)) => {
            layout::call(level, "symbol::write", &["writer", &value], ";")
        }
        Type::Optional(Plain::String) => match (treated, &field.sensitive) {
            (
                Some(treated),
                Some(Sensitive {
                    action: Action::Hash,
                    ..
                }),
            ) => call("optional_string", &format!("{treated}.as_deref()")),
            (Some(treated), _) => call("optional_string", &treated),
            (None, _) => call("optional_string", &format!("{value}.as_deref()")),
        },
        Type::Optional(inner) => {
            let write = match inner {
                Plain::Enum(_) => "symbol::write".to_owned(),
                inner => format!("Writer::{}", method(inner)),
            };
            layout::call(level, "writer.optional", &[&value, &write], ";")
        }
        Type::Array(_) | Type::Records(_) | Type::StringMap => {
            format!("{}{value}.write(writer);\n", layout::indent(level))
        }
    }
}

/// The method of reader and writer for a plain type.
fn method(plain: &Plain) -> &'static str {
    match plain {
        Plain::String => "string",
        Plain::Int | Plain::Enum(_) => "int",
        Plain::Long => "long",
        Plain::Double => "double",
        Plain::Boolean => "boolean",
    }
}

/// A sensitive field's value as it is written.
fn treated(value: &str, field: &Field, sensitive: &Sensitive) -> String {
    let (text, suffix) = match field.ty {
        Type::Plain(_) => (format!("&{value}"), "_text"),
        _ => (format!("{value}.as_deref()"), ""),
    };
    let when = sensitive
        .when
        .as_ref()
        .map(|when| format!("self.{}", ident(when)));
    match (sensitive.action, when) {
        (Action::Drop, None) => "None::<&str>".to_owned(),
        (Action::Drop, Some(when)) => format!("{text}.filter(|_| !{when})"),
        (Action::Hash, when) => {
            format!(
                "sensitive::hash{suffix}({text}, {})",
                when.as_deref().unwrap_or("true")
            )
        }
        (Action::Mask, when) => {
            format!(
                "sensitive::mask{suffix}({text}, {})",
                when.as_deref().unwrap_or("true")
            )
        }
    }
}

/// The statement that reads a field; `reader` is the expression of type `&mut Reader`, `json` the
/// field's name, as a literal or as a variable.
pub(super) fn read(level: usize, reader: &str, json: &str, field: &Field) -> String {
    let left = format!("let {}", ident(&field.name));
    let by_method = reader.strip_prefix("&mut ").unwrap_or(reader);
    let right = match &field.ty {
        Type::Plain(Plain::Enum(_)) => format!("symbol::read({reader}, {json})?"),
        Type::Plain(inner) => format!("{by_method}.{}({json})?", method(inner)),
        Type::Optional(Plain::String) => format!("{by_method}.optional_string({json})?"),
        Type::Optional(Plain::Enum(_)) => format!("{by_method}.optional({json}, symbol::read)?"),
        Type::Optional(inner) => {
            format!("{by_method}.optional({json}, Reader::{})?", method(inner))
        }
        Type::Array(_) | Type::Records(_) => format!("List::read({reader}, {json})?"),
        Type::StringMap => format!("StringMap::read({reader}, {json})?"),
    };
    layout::assign(level, &left, &right)
}

/// The field of a struct literal after [`read`].
pub(super) fn was_read(field: &Field) -> String {
    let name = ident(&field.name);
    match field.ty {
        Type::Plain(Plain::String) => format!("{name}: Cow::Borrowed({name})"),
        Type::Optional(Plain::String) => format!("{name}: {name}.map(Cow::Borrowed)"),
        _ => name,
    }
}

/// The field of a struct literal that borrows nothing.
pub(super) fn owned(field: &Field) -> String {
    let name = ident(&field.name);
    match field.ty {
        Type::Plain(Plain::String) => format!("{name}: text::owned(self.{name})"),
        Type::Optional(Plain::String) => format!("{name}: self.{name}.map(text::owned)"),
        Type::Plain(_) | Type::Optional(_) => format!("{name}: self.{name}"),
        Type::Array(_) | Type::Records(_) | Type::StringMap => {
            format!("{name}: self.{name}.into_owned()")
        }
    }
}

/// The statement that shows a field to a visitor.
pub(super) fn visit(level: usize, field: &Field) -> String {
    let value = format!("self.{}", ident(&field.name));
    let value = match &field.sensitive {
        Some(sensitive) => treated(&value, field, sensitive),
        None => value,
    };
    let (json, value) = (format!("\"{}\"", field.json_name()), format!("&{value}"));
    layout::call(level, "visitor.field", &[&json, &value], "?;")
}
