//! Confluent's REST API, as far as producers, consumers and their tools use it
//! (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>).

use serde_json::{Value, json};

use super::store::{Refusal, Store, Stored, Version};

/// Answers one request: `path` as its decoded segments.
pub(super) fn answer(
    store: &mut Store,
    method: &str,
    path: &[String],
    body: &[u8],
) -> Result<Value, Refusal> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (method, path.as_slice()) {
        ("GET", [] | [""]) => Ok(json!({})),
        ("GET", ["schemas", "types"]) => Ok(json!(["AVRO"])),
        ("GET", ["subjects"]) => Ok(store.subjects().collect()),
        ("POST", ["subjects", subject, "versions"]) => {
            let request = SchemaRequest::read(body)?;
            let id = store.register(subject, &request.schema, request.references)?;
            Ok(json!({ "id": id }))
        }
        ("POST", ["subjects", subject]) => {
            let request = SchemaRequest::read(body)?;
            Ok(version_json(
                subject,
                store.look_up(subject, &request.schema)?,
            ))
        }
        ("GET", ["subjects", subject, "versions"]) => {
            let numbers: Vec<u32> = store
                .versions(subject)
                .map(|version| version.number)
                .collect();
            if numbers.is_empty() {
                Err(Refusal::no_subject(subject))
            } else {
                Ok(json!(numbers))
            }
        }
        ("GET", ["subjects", subject, "versions", number]) => {
            let version = store.version(subject, number)?;
            let mut answer = version_json(subject, version);
            add_references(&mut answer, store.by_id(version.id)?);
            Ok(answer)
        }
        ("GET", ["schemas", "ids", id]) => {
            let id = id
                .parse()
                .map_err(|_| Refusal::new(404, "HTTP 404 Not Found"))?;
            let stored = store.by_id(id)?;
            let mut answer = json!({ "schema": stored.schema, "guid": stored.guid() });
            add_references(&mut answer, stored);
            Ok(answer)
        }
        ("GET", ["schemas", "guids", guid]) => {
            let stored = store.by_guid(guid)?;
            let mut answer = json!({ "schema": stored.schema });
            add_references(&mut answer, stored);
            Ok(answer)
        }
        ("POST", ["compatibility", "subjects", subject, "versions", rest @ ..]) => {
            let request = SchemaRequest::read(body)?;
            let version = rest.first().copied();
            let messages =
                store.differences(subject, &request.schema, &request.references, version)?;
            Ok(json!({ "is_compatible": messages.is_empty(), "messages": messages }))
        }
        ("GET", ["config", subject @ ..]) => {
            Ok(json!({ "compatibilityLevel": store.level_name(subject.first().copied()) }))
        }
        ("PUT", ["config", subject @ ..]) => {
            let request = read_json(body)?;
            let level = request["compatibility"].as_str().unwrap_or_default();
            store.set_level(subject.first().copied(), level)?;
            Ok(json!({ "compatibility": level }))
        }
        _ => Err(Refusal::new(404, "HTTP 404 Not Found")),
    }
}

/// What a schema is registered, looked up and checked with.
struct SchemaRequest {
    schema: String,
    references: Vec<Value>,
}

impl SchemaRequest {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut request = read_json(body)?;
        if request["schemaType"]
            .as_str()
            .is_some_and(|kind| kind != "AVRO")
        {
            return Err(Refusal::new(42_201, "this registry keeps Avro alone"));
        }
        let schema = request["schema"].as_str().map(str::to_owned);
        let references = request["references"].as_array_mut().map(std::mem::take);
        Ok(SchemaRequest {
            schema: schema.ok_or_else(|| Refusal::new(42_201, "Empty schema"))?,
            references: references.unwrap_or_default(),
        })
    }
}

fn read_json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(400, error.to_string()))
}

fn version_json(subject: &str, version: &Version) -> Value {
    json!({
        "subject": subject,
        "version": version.number,
        "id": version.id,
        "schema": version.schema,
    })
}

fn add_references(answer: &mut Value, stored: &Stored) {
    if !stored.references.is_empty() {
        answer["references"] = json!(stored.references);
    }
}
