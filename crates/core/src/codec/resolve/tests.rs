//! Resolution against what apache-avro and the fixtures say.
