//! What one field looks like in each of the forms that a record has.

use super::layout;
use super::names::{camel, ident};
use crate::model::{Action, Default, Field, Plain, Type};

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

/// Whether a field's value leaves as its hash.
fn is_hashed(field: &Field) -> bool {
    let sensitive = field.sensitive.as_ref();
    sensitive.is_some_and(|sensitive| sensitive.action == Action::Hash)
}

/// The type of a field.
pub(super) fn rust_type(field: &Field) -> String {
    match &field.ty {
        Type::Plain(Plain::String) if is_hashed(field) => "HashedText<'a>".to_owned(),
        Type::Optional(Plain::String) if is_hashed(field) => "Option<HashedText<'a>>".to_owned(),
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
    let ty = rust_type(field);
    if holds_itself(field) {
        ty
    } else {
        format!("Option<{ty}>")
    }
}

/// The type that a setter takes, and how it becomes the field's.
pub(super) fn setter(field: &Field) -> (String, String) {
    let name = ident(&field.name);
    let ty = rust_type(field);
    match &field.ty {
        Type::Optional(Plain::String) => {
            let value = format!("{name}.into_optional_text()");
            let takes = match is_hashed(field) {
                true => "impl OptionalText<'a, HashedText<'a>>",
                false => "impl OptionalText<'a>",
            };
            (takes.to_owned(), value)
        }
        Type::Plain(Plain::Boolean | Plain::Enum(_)) => (ty, name),
        _ => (format!("impl Into<{ty}>"), format!("{name}.into()")),
    }
}

/// The field's value as the builder holds it.
pub(super) fn in_builder(field: &Field, value: String) -> String {
    if holds_itself(field) {
        value
    } else {
        format!("Some({value})")
    }
}

/// The field's value when a builder builds.
pub(super) fn built(level: usize, field: &Field) -> String {
    let name = ident(&field.name);
    let start = layout::indent(level);
    if holds_itself(field) {
        return format!("{start}{name}: self.{name},\n");
    }
    if is_required(field) {
        let (value, json) = (format!("self.{name}"), format!("\"{}\"", field.name));
        let head = format!("{name}: check::required");
        return layout::call(level, &head, &[&value, "NAME", &json], "?,");
    }
    format!(
        "{start}{name}: self.{name}.unwrap_or({}),\n",
        default(field)
    )
}

/// The value of a field that was not given.
pub(super) fn default(field: &Field) -> String {
    match (&field.default, &field.ty) {
        (_, Type::Optional(_)) => "None".to_owned(),
        (Some(Default::Boolean(value)), _) => value.to_string(),
        (Some(Default::Integer(value)), _) => value.to_string(),
        (Some(Default::Double(value)), _) => format!("{value:?}"),
        (Some(Default::Text(symbol)), Type::Plain(Plain::Enum(name))) => {
            format!("{name}::{}", camel(symbol))
        }
        (Some(Default::Text(text)), _) => format!("Cow::Borrowed({text:?})"),
        _ => "Default::default()".to_owned(),
    }
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

/// The statements that write a field.
pub(super) fn write(level: usize, owner: &str, field: &Field) -> String {
    let name = ident(&field.name);
    let (before, value) = treated(level, owner, field);
    let call = |method: &str, arg: &str| {
        let call = layout::call(level, &format!("writer.{method}"), &[arg], ";");
        format!("{before}{call}")
    };
    match &field.ty {
        Type::Plain(Plain::String) if before.is_empty() || is_hashed(field) => {
            call("string", &format!("&{value}"))
        }
        Type::Plain(Plain::String) => call("string", &value),
        Type::Optional(Plain::String) if before.is_empty() || is_hashed(field) => {
            call("optional_string", &format!("{value}.as_deref()"))
        }
        Type::Optional(Plain::String) => call("optional_string", &value),
        Type::Plain(Plain::Enum(_)) => {
            layout::call(level, "symbol::write", &["writer", &value], ";")
        }
        Type::Plain(inner) => call(method(inner), &value),
        Type::Optional(inner) => {
            let head = format!("<Option<{}> as Element>::write", plain(inner));
            layout::call(level, &head, &[&format!("&{value}"), "writer"], ";")
        }
        Type::Array(_) | Type::Records(_) | Type::StringMap => {
            format!("{}{owner}.{name}.write(writer);\n", layout::indent(level))
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

/// The value of a field as it is written, and a statement that must come before if it is sensitive.
fn treated(level: usize, owner: &str, field: &Field) -> (String, String) {
    let name = ident(&field.name);
    let value = format!("{owner}.{name}");
    let Some(sensitive) = &field.sensitive else {
        return (String::new(), value);
    };
    let (text, suffix) = match field.ty {
        Type::Plain(_) => (format!("&{value}"), "_text"),
        _ if is_hashed(field) => (format!("{value}.as_ref()"), ""),
        _ => (format!("{value}.as_deref()"), ""),
    };
    let when = match &sensitive.when {
        Some(when) => format!("{owner}.{}", ident(when)),
        None => "true".to_owned(),
    };
    let function = match sensitive.action {
        Action::Hash => format!("sensitive::hash{suffix}"),
        Action::Mask => format!("sensitive::mask{suffix}"),
        // There is no helper for what no schema of today asks for.
        Action::Drop => {
            let start = layout::indent(level);
            let statement = match &sensitive.when {
                Some(_) => layout::if_else(level, &name, &when, "None", &text),
                None => format!("{start}let {name} = None::<&str>;\n"),
            };
            return (statement, name);
        }
    };
    let call = layout::call(
        level,
        &format!("let {name} = {function}"),
        &[&text, &when],
        ";",
    );
    (call, name)
}

/// The statement that reads a field; `reader` is the expression of type `&mut Reader`, `json` the
/// field's name, as a literal or as a variable.
pub(super) fn read(level: usize, reader: &str, json: &str, field: &Field) -> String {
    let left = format!("let {}", ident(&field.name));
    let by_method = reader.strip_prefix("&mut ").unwrap_or(reader);
    let right = match &field.ty {
        Type::Plain(Plain::Enum(_)) => format!("symbol::read({reader}, {json})?"),
        Type::Plain(Plain::String) if is_hashed(field) => {
            format!("sensitive::read({by_method}.text({json})?)")
        }
        Type::Optional(Plain::String) if is_hashed(field) => {
            format!("sensitive::optional_read({by_method}.optional_text({json})?)")
        }
        Type::Plain(Plain::String) => format!("{by_method}.text({json})?"),
        Type::Plain(inner) => format!("{by_method}.{}({json})?", method(inner)),
        Type::Optional(Plain::String) => format!("{by_method}.optional_text({json})?"),
        Type::Optional(inner) => {
            format!(
                "<Option<{}> as Element>::read({reader}, {json})?",
                plain(inner)
            )
        }
        Type::Array(_) | Type::Records(_) => format!("List::read({reader}, {json})?"),
        Type::StringMap => format!("StringMap::read({reader}, {json})?"),
    };
    layout::assign(level, &left, &right)
}

/// The field of a struct literal that borrows nothing.
pub(super) fn owned(level: usize, field: &Field) -> String {
    let name = ident(&field.name);
    let function = match &field.ty {
        Type::Plain(_) if is_hashed(field) => "sensitive::owned",
        Type::Optional(_) if is_hashed(field) => "sensitive::optional_owned",
        Type::Plain(Plain::String) => "text::owned",
        Type::Optional(Plain::String) => "text::optional_owned",
        Type::Plain(_) | Type::Optional(_) => {
            return format!("{}{name}: self.{name},\n", layout::indent(level));
        }
        Type::Array(_) | Type::Records(_) => "List::into_owned",
        Type::StringMap => "StringMap::into_owned",
    };
    let head = format!("{name}: {function}");
    layout::call(level, &head, &[&format!("self.{name}")], ",")
}

/// The statement that notes whether a sensitive field's value is not treated yet; none of others.
pub(super) fn holds_secret(level: usize, field: &Field) -> Option<String> {
    let sensitive = field.sensitive.as_ref()?;
    let value = format!("self.{}", ident(&field.name));
    let when = sensitive.when.as_ref();
    let when = when.map(|when| format!("self.{}", ident(when)));
    let function = match sensitive.action {
        Action::Hash => "is_clear",
        Action::Mask => "is_unmasked",
        // There is no helper for what no schema of today asks for.
        Action::Drop => {
            let when = when.map_or_else(String::new, |when| format!("{when} && "));
            let start = layout::indent(level);
            return Some(format!("{start}holds |= {when}{value}.is_some();\n"));
        }
    };
    let value = match (&field.ty, sensitive.action) {
        (Type::Plain(_), _) => format!("Some(&{value})"),
        (_, Action::Hash) => format!("{value}.as_ref()"),
        _ => format!("{value}.as_deref()"),
    };
    let when = when.unwrap_or_else(|| "true".to_owned());
    let head = format!("holds |= sensitive::{function}");
    Some(layout::call(level, &head, &[&value, &when], ";"))
}

/// The statement that takes a field's hash for a text like any other, if the field has one.
pub(super) fn into_given(level: usize, field: &Field) -> Option<String> {
    if !is_hashed(field) {
        return None;
    }
    let name = ident(&field.name);
    let value = match field.ty {
        Type::Optional(_) => format!("sensitive::optional_given(self.{name})"),
        _ => format!("sensitive::given(self.{name})"),
    };
    Some(layout::assign(level, &format!("self.{name}"), &value))
}

/// The statements that show a field to a visitor.
pub(super) fn visit(level: usize, field: &Field) -> String {
    let (before, value) = treated(level, "self", field);
    let (json, value) = (format!("\"{}\"", field.json_name()), format!("&{value}"));
    let call = layout::call(level, "visitor.field", &[&json, &value], "?;");
    format!("{before}{call}")
}
