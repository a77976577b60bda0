//! The file of one event.

use super::{doc, each, lower_first, nested, types};
use crate::model::{Field, KeyPart, Plain, Record, Topic, Type};
use crate::names::{camel, ident};

pub(super) fn file(topic: &Topic) -> String {
    let event = &topic.event;
    let (name, fields) = (&event.record.name, &event.record.fields);
    let summary = format!("[`{name}`]: {}", lower_first(&event.record.doc));
    let place = format!(
        "{}\n\nOn topic `{}`, keyed by `{}`.",
        event.record.doc, topic.name, topic.key.template
    );
    let (module_doc, doc) = (doc(0, "//!", &summary), doc(0, "///", &place));
    let structure = types::structure(fields);
    let builder = builder(&event.record);
    let typed_event = typed_event(topic);
    let visit = visit(&event.record);
    let nested = each(&event.nested, nested::record);
    let schema = raw_literal(&event.schema_json);
    format!(
        "{module_doc}
use super::prelude::*;

{doc}#[derive(Clone, PartialEq)]
pub struct {name}<'a> {{
    /// The fields that every event has.
    pub envelope: Envelope<'a>,
    {structure}
}}

impl<'a> {name}<'a> {{
    /// Starts an event that happens now.
    #[inline(always)]
    pub fn builder() -> {name}Builder<'a> {{
        {name}Builder::default()
    }}
}}

{builder}

impl TypedEvent for {name}<'_> {{
    {typed_event}
}}

impl Fields for {name}<'_> {{
    {visit}
}}

show_by_fields!({name});
{nested}
const SCHEMA_JSON: &str = {schema};
"
    )
}

fn builder(record: &Record) -> String {
    let (name, fields) = (&record.name, &record.fields);
    let required = fields.iter().filter(|field| types::is_required(field));
    let required: Vec<String> = required
        .map(|field| format!("`{}`", ident(&field.name)))
        .collect();
    let article = if name.starts_with('A') { "an" } else { "a" };
    let text = format!(
        "Builds {article} [`{name}`]. Required: {}.",
        required.join(", ")
    );
    let doc = doc(0, "///", &text);
    let held = each(fields, |field| {
        format!("{}: {},\n", ident(&field.name), types::builder_type(field))
    });
    let setters = each(fields, setter);
    let built = each(fields, types::built);
    format!(
        "{doc}#[derive(Default)]
#[must_use = \"`build` returns the event\"]
pub struct {name}Builder<'a> {{
    envelope: EnvelopeBuilder<'a>,
    {held}
}}

impl<'a> {name}Builder<'a> {{
    envelope_setters!();
    {setters}
    /// The event.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if a required field is
    /// missing or a value is refused, naming `event` and `field`.
    #[inline(always)]
    pub fn build(self) -> Result<{name}<'a>> {{
        const NAME: &str = {name}::NAME;
        let event = {name} {{
            envelope: self.envelope.build(NAME),
            {built}
        }};
        event.validate(check::SOURCE_COMES_LATER)?;
        Ok(event)
    }}
}}"
    )
}

fn setter(field: &Field) -> String {
    let name = ident(&field.name);
    let (takes, value) = types::setter(field);
    let value = types::in_builder(field, value);
    let required = if types::is_required(field) {
        " Required."
    } else {
        ""
    };
    let doc = doc(1, "///", &format!("{}{required}", field.doc));
    format!(
        "
{doc}    #[inline(always)]
    pub fn {name}(mut self, {name}: {takes}) -> Self {{
        self.{name} = {value};
        self
    }}

"
    )
}

fn typed_event(topic: &Topic) -> String {
    let event = &topic.event;
    let (name, fields) = (&event.record.name, &event.record.fields);
    let topic_name = camel(&topic.name);
    let fingerprint = hex(event.fingerprint);
    let validate = validate(topic);
    let write_key = write_key(topic);
    let bound = types::bound("self", fields, Some("self.envelope.bound()"));
    let writes = each(fields, |field| types::write("self", field));
    let reads = each(fields, |field| {
        types::read("&mut reader", &format!("{:?}", field.name), field)
    });
    let names = each(fields, |field| format!("{},", ident(&field.name)));
    let owned = each(fields, types::owned);
    let secrets = secrets(fields);
    format!(
        "const NAME: &'static str = \"{name}\";
    const TOPIC: Topic = Topic::{topic_name};
    const SCHEMA_JSON: &'static str = SCHEMA_JSON;
    const FINGERPRINT: u64 = {fingerprint};

    type Of<'b> = {name}<'b>;

    fn envelope(&self) -> &Envelope<'_> {{
        &self.envelope
    }}

    {validate}

    {write_key}

    fn max_encoded_len(&self) -> usize {{
        {bound}
    }}

    fn encode(&self, default_source: &str, out: &mut Vec<u8>) {{
        let bound = self.max_encoded_len() + default_source.len();
        append_with(out, bound, |writer| {{
            self.envelope.write(default_source, writer);
            {writes}
        }});
    }}

    fn decode(body: &[u8]) -> Result<{name}<'_>> {{
        let mut reader = Reader::new(Self::NAME, body);
        let envelope = Envelope::read(&mut reader)?;
        {reads}
        reader.finish()?;
        Ok({name} {{ envelope, {names} }})
    }}

    fn into_owned(self) -> {name}<'static> {{
        {name} {{ envelope: self.envelope.into_owned(), {owned} }}
    }}
    {secrets}"
    )
}

/// What a record with sensitive fields does differently from the trait.
fn secrets(fields: &[Field]) -> String {
    let mut methods = String::new();
    let given = each(fields, types::into_given);
    if !given.is_empty() {
        methods = format!("\nfn into_given(mut self) -> Self {{ {given} self }}\n");
    }
    let secret = each(fields, types::holds_secret);
    if !secret.is_empty() {
        methods.push_str(&format!(
            "\nfn holds_secret(&self) -> bool {{ let mut holds = false; {secret} holds }}\n"
        ));
    }
    methods
}

/// The parameter, with an underscore where the body does without it.
fn default_source(body: &str) -> &'static str {
    if body.contains("default_source") {
        "default_source: &str"
    } else {
        "_default_source: &str"
    }
}

fn validate(topic: &Topic) -> String {
    let mut body = "check::event_id(Self::NAME, &self.envelope)?;".to_owned();
    for part in &topic.key.parts {
        body.push_str(&match part {
            KeyPart::Literal(_) => String::new(),
            KeyPart::Field(field) => {
                let value = match field.as_str() {
                    "source" => text_of(field),
                    _ => format!("&self.{}", ident(field)),
                };
                format!("check::key(Self::NAME, {field:?}, {value})?;")
            }
            KeyPart::Either {
                optional,
                otherwise,
            } => {
                let (name, other) = (ident(optional), ident(otherwise));
                let text = text_of(otherwise);
                format!(
                    "if let Some({name}) = &self.{name} {{
                        check::key(Self::NAME, {optional:?}, {name})?;
                    }} else {{
                        let {other} = {text};
                        check::key(Self::NAME, {otherwise:?}, {other})?;
                    }}"
                )
            }
        });
    }
    body.push_str(&each(&topic.event.record.fields, range));
    let default_source = default_source(&body);
    format!("fn validate(&self, {default_source}) -> Result<()> {{ {body} Ok(()) }}")
}

/// The statement that checks a number's limits, if the field has any.
fn range(field: &Field) -> String {
    let Some((minimum, maximum)) = field.range else {
        return String::new();
    };
    let limit = |limit: f64| match limit {
        f64::INFINITY => "f64::INFINITY".to_owned(),
        f64::NEG_INFINITY => "f64::NEG_INFINITY".to_owned(),
        limit => format!("{limit:?}"),
    };
    let range = format!("{}..={}", limit(minimum), limit(maximum));
    let check = |value: &str, plain: &Plain| {
        let value = match plain {
            Plain::Double => value.to_owned(),
            Plain::Int => format!("f64::from({value})"),
            _ => format!("{value} as f64"),
        };
        format!(
            "check::range(Self::NAME, {:?}, {value}, {range})?;",
            field.name
        )
    };
    let name = ident(&field.name);
    match &field.ty {
        Type::Optional(plain) => {
            let check = check(&name, plain);
            format!("if let Some({name}) = self.{name} {{ {check} }}")
        }
        Type::Plain(plain) => check(&format!("self.{name}"), plain),
        _ => String::new(),
    }
}

/// A required text field, of the envelope or of the event, as `&str`.
fn text_of(field: &str) -> String {
    match field {
        "source" => "self.envelope.source_or(default_source)".to_owned(),
        field => format!("&*self.{}", ident(field)),
    }
}

fn write_key(topic: &Topic) -> String {
    let push = |text: &str| {
        let text = text.trim_start_matches("&*");
        format!("out.extend_from_slice({text}.as_bytes());")
    };
    let body = each(&topic.key.parts, |part| match part {
        KeyPart::Literal(text) => match text.as_bytes() {
            [_] => format!("out.push(b'{}');", text.escape_default()),
            _ => format!("out.extend_from_slice(b{text:?});"),
        },
        KeyPart::Field(field) => push(&text_of(field)),
        KeyPart::Either {
            optional,
            otherwise,
        } => {
            let name = ident(optional);
            let (one, other) = (push(&name), push(&text_of(otherwise)));
            format!("if let Some({name}) = &self.{name} {{ {one} }} else {{ {other} }}")
        }
    });
    let default_source = default_source(&body);
    format!("fn write_key(&self, {default_source}, out: &mut Vec<u8>) {{ {body} }}")
}

fn visit(record: &Record) -> String {
    let visits = each(&record.fields, types::visit);
    let mut fields = record.fields.iter();
    let (with_version, why) = match fields.any(|field| field.json_name() == "version") {
        true => (
            false,
            "// In JSON, `version` is a field of the event itself.\n",
        ),
        false => (true, ""),
    };
    format!(
        "fn visit<V: Visitor>(&self, default_source: &str, visitor: &mut V) -> Result<(), V::Error> {{
        {why}self.envelope.visit(default_source, {with_version}, visitor)?;
        {visits}
        Ok(())
    }}"
    )
}

/// A raw literal, with as many `#` as the text needs that none of it ends the literal.
fn raw_literal(text: &str) -> String {
    let mut fence = "#".to_owned();
    while text.contains(&format!("\"{fence}")) {
        fence.push('#');
    }
    format!("r{fence}\"{text}\"{fence}")
}

/// `0x0123_4567_89ab_cdef`
fn hex(value: u64) -> String {
    let digits = format!("{value:016x}");
    let (a, b, c, d) = (&digits[..4], &digits[4..8], &digits[8..12], &digits[12..]);
    format!("0x{a}_{b}_{c}_{d}")
}
