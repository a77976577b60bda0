//! What one field looks like in each of the forms that a record has.

use super::{doc, each};
use crate::model::{Action, Default, Field, Plain, Type};
use crate::names::{camel, ident};

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

/// The fields of a struct, documented.
pub(super) fn structure(fields: &[Field]) -> String {
    each(fields, |field| {
        let (doc, name) = (doc(1, "///", &field.doc), ident(&field.name));
        format!("{doc}pub {name}: {},\n", rust_type(field))
    })
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
pub(super) fn built(field: &Field) -> String {
    let name = ident(&field.name);
    if holds_itself(field) {
        return format!("{name}: self.{name},\n");
    }
    if is_required(field) {
        return format!(
            "{name}: check::required(self.{name}, NAME, {:?})?,\n",
            field.name
        );
    }
    format!("{name}: self.{name}.unwrap_or({}),\n", default(field))
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

/// An expression for the most bytes that the fields of `owner` take, with `more` besides: ten for
/// each length, value and branch, and what comes on top.
pub(super) fn bound(owner: &str, fields: &[Field], more: Option<&str>) -> String {
    let varints = fields.iter().map(|field| match field.ty {
        Type::Plain(_) => 1,
        Type::Optional(_) => 2,
        Type::Array(_) | Type::Records(_) | Type::StringMap => 0,
    });
    let mut sum = vec![format!("{} * MAX_VARINT_LEN", varints.sum::<usize>())];
    sum.extend(more.map(str::to_owned));
    sum.extend(fields.iter().filter_map(|field| extra_bytes(owner, field)));
    sum.join(" + ")
}

/// The bytes that a field takes beyond those, if any. `owner` is what the field is taken from.
fn extra_bytes(owner: &str, field: &Field) -> Option<String> {
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
pub(super) fn write(owner: &str, field: &Field) -> String {
    let (before, value) = treated(owner, field);
    let call = |method: &str, arg: &str| format!("{before}writer.{method}({arg});\n");
    match &field.ty {
        Type::Plain(Plain::String) if before.is_empty() || is_hashed(field) => {
            call("string", &format!("&{value}"))
        }
        Type::Plain(Plain::String) => call("string", &value),
        Type::Optional(Plain::String) if before.is_empty() || is_hashed(field) => {
            call("optional_string", &format!("{value}.as_deref()"))
        }
        Type::Optional(Plain::String) => call("optional_string", &value),
        Type::Plain(Plain::Enum(_)) => format!("symbol::write(writer, {value});\n"),
        Type::Plain(inner) => call(method(inner), &value),
        Type::Optional(inner) => {
            let inner = plain(inner);
            format!("<Option<{inner}> as Element>::write(&{value}, writer);\n")
        }
        Type::Array(_) | Type::Records(_) | Type::StringMap => {
            format!("{value}.write(writer);\n")
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
fn treated(owner: &str, field: &Field) -> (String, String) {
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
            let nothing = match &sensitive.when {
                Some(_) => format!("if {when} {{ None }} else {{ {text} }}"),
                None => "None::<&str>".to_owned(),
            };
            return (format!("let {name} = {nothing};\n"), name);
        }
    };
    let treat = format!("let {name} = {function}({text}, {when});\n");
    (treat, name)
}

/// The statement that reads a field; `reader` is the expression of type `&mut Reader`, `json` the
/// field's name, as a literal or as a variable.
pub(super) fn read(reader: &str, json: &str, field: &Field) -> String {
    let name = ident(&field.name);
    let by_method = reader.strip_prefix("&mut ").unwrap_or(reader);
    let value = match &field.ty {
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
    format!("let {name} = {value};\n")
}

/// The field of a struct literal that borrows nothing.
pub(super) fn owned(field: &Field) -> String {
    let name = ident(&field.name);
    let function = match &field.ty {
        Type::Plain(_) if is_hashed(field) => "sensitive::owned",
        Type::Optional(_) if is_hashed(field) => "sensitive::optional_owned",
        Type::Plain(Plain::String) => "text::owned",
        Type::Optional(Plain::String) => "text::optional_owned",
        Type::Plain(_) | Type::Optional(_) => {
            return format!("{name}: self.{name},\n");
        }
        Type::Array(_) | Type::Records(_) => "List::into_owned",
        Type::StringMap => "StringMap::into_owned",
    };
    format!("{name}: {function}(self.{name}),\n")
}

/// The statement that notes whether a sensitive field's value is not treated yet; none of others.
pub(super) fn holds_secret(field: &Field) -> String {
    let Some(sensitive) = &field.sensitive else {
        return String::new();
    };
    let value = format!("self.{}", ident(&field.name));
    let when = sensitive.when.as_ref();
    let when = when.map(|when| format!("self.{}", ident(when)));
    let function = match sensitive.action {
        Action::Hash => "is_clear",
        Action::Mask => "is_unmasked",
        // There is no helper for what no schema of today asks for.
        Action::Drop => {
            let when = when.map_or_else(String::new, |when| format!("{when} && "));
            return format!("holds |= {when}{value}.is_some();\n");
        }
    };
    let value = match (&field.ty, sensitive.action) {
        (Type::Plain(_), _) => format!("Some(&{value})"),
        (_, Action::Hash) => format!("{value}.as_ref()"),
        _ => format!("{value}.as_deref()"),
    };
    let when = when.unwrap_or_else(|| "true".to_owned());
    format!("holds |= sensitive::{function}({value}, {when});\n")
}

/// The statement that takes a field's hash for a text like any other, if the field has one.
pub(super) fn into_given(field: &Field) -> String {
    if !is_hashed(field) {
        return String::new();
    }
    let name = ident(&field.name);
    let value = match field.ty {
        Type::Optional(_) => format!("sensitive::optional_given(self.{name})"),
        _ => format!("sensitive::given(self.{name})"),
    };
    format!("self.{name} = {value};\n")
}

/// The statements that show a field to a visitor.
pub(super) fn visit(field: &Field) -> String {
    let (before, value) = treated("self", field);
    format!(
        "{before}visitor.field({:?}, &{value})?;\n",
        field.json_name()
    )
}
