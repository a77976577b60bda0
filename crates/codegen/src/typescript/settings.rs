//! `lib/settings.d.ts`: the settings as options.

use crate::declarations::{Setting, SettingKind};

/// A group's interface, and what it says of itself.
const INTERFACES: [(&str, &str, &str); 4] = [
    (
        "connection",
        "ConnectionSettings",
        "How to reach the brokers and the registry, and with which credentials.",
    ),
    ("registry", "RegistrySettings", "The schema registry."),
    (
        "producer",
        "ProducerSettings",
        "How records are queued, batched, written and timed out.",
    ),
    (
        "consumer",
        "ConsumerSettings",
        "Which topics are read, by which group, from where and with how much memory.",
    ),
];

/// The file, below its header.
pub(super) fn file(settings: &[Setting]) -> String {
    let mut out = "import type { TlsOptions } from './legacy.js';\n".to_owned();
    for (group, name, doc) in INTERFACES {
        out.push_str(&format!("\n/** {doc} */\nexport interface {name} {{\n"));
        let members = settings.iter().filter(|setting| setting.group == group);
        out.extend(members.map(member));
        out.push_str("}\n");
    }
    out.push_str(include_str!("settings.d.ts"));
    out
}

fn member(setting: &Setting) -> String {
    let mut notes = Vec::new();
    if let Some(variable) = &setting.env {
        notes.push(format!("Environment: `{variable}`."));
    }
    if let Some(default) = setting.shown_default() {
        notes.push(format!("Default: `{default}`."));
    }
    let mut doc = setting.doc.clone();
    if !notes.is_empty() {
        doc.push_str("\n\n");
        doc.push_str(&notes.join(" "));
    }
    let lines: String = doc
        .lines()
        .map(|line| format!("{}\n", format!("   * {line}").trim_end()))
        .collect();
    let (name, ty) = (camel(&setting.name), type_of(setting));
    format!("  /**\n{lines}   */\n  {name}?: {ty} | undefined;\n")
}

fn type_of(setting: &Setting) -> String {
    let several = matches!(&*setting.name, "urls" | "bootstrap_servers");
    match setting.kind {
        SettingKind::Boolean => "boolean".to_owned(),
        SettingKind::Integer | SettingKind::Milliseconds => "number".to_owned(),
        SettingKind::Text | SettingKind::List if several => "string | readonly string[]".to_owned(),
        SettingKind::Text => "string".to_owned(),
        SettingKind::List => "readonly string[]".to_owned(),
        SettingKind::Map if setting.name == "properties" => {
            "Readonly<Record<string, string | number | boolean>>".to_owned()
        }
        SettingKind::Map => "Readonly<Record<string, number>>".to_owned(),
        SettingKind::Choice => {
            let words: Vec<_> = setting
                .choices
                .iter()
                .map(|word| format!("'{word}'"))
                .collect();
            words.join(" | ")
        }
    }
}

/// `delivery_timeout_ms` to `deliveryTimeoutMs`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}
