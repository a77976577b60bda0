//! What readers need to know about each topic's event, made from its schema on first use.

use std::sync::OnceLock;

use super::json::Shape;
use crate::avro::Schema;
use crate::avro::schema::Node;
use crate::events::Topic;
use crate::{Error, Result};

/// One topic's event, as a reader.
#[derive(Debug)]
pub(crate) struct EventReader {
    pub(crate) schema: Schema,
    /// How its JSON is read.
    pub(crate) shape: Shape,
    /// Whether some fields are hashed, masked or dropped before they are encoded.
    pub(crate) sensitive: bool,
}

static READERS: [OnceLock<Result<EventReader>>; Topic::ALL.len()] =
    [const { OnceLock::new() }; Topic::ALL.len()];

impl EventReader {
    /// The reader of a topic's event.
    ///
    /// It fails only for a schema that the code generator refuses.
    pub(crate) fn of(topic: Topic) -> Result<&'static EventReader> {
        let reader = READERS[topic as usize].get_or_init(|| EventReader::new(topic));
        reader.as_ref().map_err(Error::clone)
    }

    fn new(topic: Topic) -> Result<EventReader> {
        let schema = Schema::parse(topic.spec().schema_json)?;
        let shape = Shape::new(&schema)?;
        let sensitive = schema.fields().iter().any(|field| field.sensitive);
        Ok(EventReader {
            schema,
            shape,
            sensitive,
        })
    }

    /// The topic whose event reads what a writer with that schema wrote.
    pub(crate) fn topic_of(writer: &Schema) -> Option<Topic> {
        let Node::Record { name: writer, .. } = writer.node(writer.root()) else {
            return None;
        };
        Topic::ALL
            .into_iter()
            .find(|topic| match EventReader::of(*topic) {
                Ok(reader) => match reader.schema.node(reader.schema.root()) {
                    Node::Record { name, .. } => name.reads(writer),
                    _ => false,
                },
                Err(_) => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_can_be_read_and_has_its_fingerprint() {
        for topic in Topic::ALL {
            let reader = EventReader::of(topic).unwrap();
            assert_eq!(
                reader.schema.fingerprint(),
                topic.spec().fingerprint,
                "{topic}"
            );
            assert_eq!(EventReader::topic_of(&reader.schema), Some(topic));
        }
        assert_eq!(
            EventReader::topic_of(&Schema::parse("\"string\"").unwrap()),
            None
        );
    }
}
