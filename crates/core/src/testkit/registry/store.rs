//! Subjects, versions, ids and compatibility.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::codec::frame::guid_text;

/// Schemas by id and by subject. Ids count from 1; a schema has one id under all its subjects.
#[derive(Default)]
pub(super) struct Store {
    schemas: Vec<Stored>,
    subjects: BTreeMap<String, Vec<Version>>,
    levels: BTreeMap<String, Level>,
    default_level: Level,
}

pub(super) struct Stored {
    pub(super) schema: String,
    pub(super) references: Vec<Value>,
    /// As JSON: whitespace is ignored, documentation is not.
    json: Value,
}

impl Stored {
    /// A GUID of this schema only.
    pub(super) fn guid(&self) -> String {
        let digest = Sha256::digest(self.json.to_string());
        let bytes = digest.first_chunk().copied().unwrap_or_default();
        guid_text(u128::from_be_bytes(bytes))
    }
}

pub(super) struct Version {
    pub(super) number: u32,
    pub(super) id: u32,
    pub(super) schema: String,
}

/// Confluent's compatibility levels.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Level {
    backward: bool,
    forward: bool,
    transitive: bool,
}

impl Default for Level {
    fn default() -> Self {
        Level {
            backward: true,
            forward: false,
            transitive: false,
        }
    }
}

/// An answer that is not 200: HTTP status, Confluent's `error_code` and message.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        // Five digits are a status and two of its own; three are the status itself.
        let status = if code > 999 { code / 100 } else { code };
        Refusal {
            status: status as u16,
            code,
            message: message.into(),
        }
    }

    pub(super) fn no_subject(subject: &str) -> Self {
        Refusal::new(40_401, format!("Subject '{subject}' not found."))
    }
}

impl Store {
    pub(super) fn register(
        &mut self,
        subject: &str,
        schema: &str,
        references: Vec<Value>,
    ) -> Result<u32, Refusal> {
        let json = self.checked(schema, &references)?;
        if let Some(version) = self.find(subject, &json) {
            return Ok(version.id);
        }
        let differences = self.differences(subject, schema, &references, None)?;
        if !differences.is_empty() {
            let message = format!(
                "Schema being registered is incompatible with an earlier schema for subject \
                 \"{subject}\", details: {differences:?}"
            );
            return Err(Refusal::new(409, message));
        }
        let known = self.schemas.iter().position(|stored| stored.json == json);
        let index = known.unwrap_or_else(|| {
            self.schemas.push(Stored {
                schema: schema.to_owned(),
                references,
                json,
            });
            self.schemas.len() - 1
        });
        let id = index as u32 + 1;
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        let number = versions.last().map_or(1, |last| last.number + 1);
        versions.push(Version {
            number,
            id,
            schema: schema.to_owned(),
        });
        Ok(id)
    }

    pub(super) fn look_up(&self, subject: &str, schema: &str) -> Result<&Version, Refusal> {
        if !self.subjects.contains_key(subject) {
            return Err(Refusal::no_subject(subject));
        }
        let json = self.checked(schema, &[]).or_else(|_| {
            serde_json::from_str(schema).map_err(|error| invalid(&error.to_string()))
        })?;
        self.find(subject, &json)
            .ok_or_else(|| Refusal::new(40_403, "Schema not found"))
    }

    pub(super) fn by_id(&self, id: u32) -> Result<&Stored, Refusal> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let stored = index.and_then(|index| self.schemas.get(index));
        stored.ok_or_else(|| Refusal::new(40_403, format!("Schema {id} not found")))
    }

    pub(super) fn by_guid(&self, guid: &str) -> Result<&Stored, Refusal> {
        let stored = self.schemas.iter().find(|stored| stored.guid() == guid);
        stored.ok_or_else(|| Refusal::new(40_403, format!("Schema {guid} not found")))
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.keys().map(String::as_str)
    }

    pub(super) fn versions(&self, subject: &str) -> impl Iterator<Item = &Version> {
        self.subjects.get(subject).into_iter().flatten()
    }

    /// `latest` or a number.
    pub(super) fn version(&self, subject: &str, version: &str) -> Result<&Version, Refusal> {
        let versions = self
            .subjects
            .get(subject)
            .ok_or_else(|| Refusal::no_subject(subject))?;
        let found = match version {
            "latest" => versions.last(),
            number => versions
                .iter()
                .find(|version| version.number.to_string() == number),
        };
        found.ok_or_else(|| Refusal::new(40_402, format!("Version {version} not found.")))
    }

    /// Why a schema is incompatible as the next version, or with one given version.
    pub(super) fn differences(
        &self,
        subject: &str,
        schema: &str,
        references: &[Value],
        version: Option<&str>,
    ) -> Result<Vec<String>, Refusal> {
        let level = self.level(subject);
        let new = self.parse(schema, references)?;
        let earlier: Vec<&Version> = match version {
            Some(version) => vec![self.version(subject, version)?],
            None if level.transitive => self.versions(subject).collect(),
            None => self.versions(subject).last().into_iter().collect(),
        };
        let mut differences = Vec::new();
        for version in earlier {
            let stored = self.by_id(version.id)?;
            let old = self.parse(&stored.schema, &stored.references)?;
            if level.backward
                && let Err(error) = SchemaCompatibility::can_read(&old, &new)
            {
                differences.push(format!(
                    "the new schema cannot read version {}: {error}",
                    version.number
                ));
            }
            if level.forward
                && let Err(error) = SchemaCompatibility::can_read(&new, &old)
            {
                differences.push(format!(
                    "version {} cannot read the new schema: {error}",
                    version.number
                ));
            }
        }
        Ok(differences)
    }

    /// The level's name of a subject, or of all that have none of their own.
    pub(super) fn level_name(&self, subject: Option<&str>) -> String {
        let level = subject.map_or(self.default_level, |subject| self.level(subject));
        let name = match (level.backward, level.forward) {
            (false, false) => return "NONE".to_owned(),
            (true, false) => "BACKWARD",
            (false, true) => "FORWARD",
            (true, true) => "FULL",
        };
        format!(
            "{name}{}",
            if level.transitive { "_TRANSITIVE" } else { "" }
        )
    }

    pub(super) fn set_level(&mut self, subject: Option<&str>, name: &str) -> Result<(), Refusal> {
        let (base, transitive) = match name.strip_suffix("_TRANSITIVE") {
            Some(base) => (base, true),
            None => (name, false),
        };
        let (backward, forward) = match base {
            "NONE" if !transitive => (false, false),
            "BACKWARD" => (true, false),
            "FORWARD" => (false, true),
            "FULL" => (true, true),
            _ => {
                return Err(Refusal::new(
                    42_203,
                    format!("Invalid compatibility level {name}"),
                ));
            }
        };
        let level = Level {
            backward,
            forward,
            transitive,
        };
        match subject {
            Some(subject) => _ = self.levels.insert(subject.to_owned(), level),
            None => self.default_level = level,
        }
        Ok(())
    }

    fn level(&self, subject: &str) -> Level {
        self.levels
            .get(subject)
            .copied()
            .unwrap_or(self.default_level)
    }

    fn find(&self, subject: &str, json: &Value) -> Option<&Version> {
        let same = |version: &&Version| {
            self.by_id(version.id)
                .is_ok_and(|stored| stored.json == *json)
        };
        self.subjects.get(subject)?.iter().find(same)
    }

    fn checked(&self, schema: &str, references: &[Value]) -> Result<Value, Refusal> {
        self.parse(schema, references)?;
        serde_json::from_str(schema).map_err(|error| invalid(&error.to_string()))
    }

    fn parse(&self, schema: &str, references: &[Value]) -> Result<Schema, Refusal> {
        let mut open = references.to_vec();
        let mut others: Vec<&str> = Vec::new();
        while let Some(reference) = open.pop() {
            let subject = reference["subject"].as_str().unwrap_or_default();
            let version = self.version(subject, &reference["version"].to_string())?;
            let stored = self.by_id(version.id)?;
            if !others.contains(&stored.schema.as_str()) {
                others.push(&stored.schema);
                open.extend(stored.references.iter().cloned());
            }
        }
        let parsed = Schema::parse_str_with_list(schema, others);
        parsed
            .map(|(schema, _)| schema)
            .map_err(|error| invalid(&error.to_string()))
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(
        42_201,
        format!("Input schema is an invalid Avro schema: {why}"),
    )
}
