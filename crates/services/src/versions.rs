//! What is downloaded, and in which version: the one place to change.
//!
//! Everything comes from Maven Central through `mvn`. The Python packages' versions stand in
//! `tests/python/requirements.txt`.

/// Apache Kafka: broker, controller and command line tools. 4.4.0 has no `kafka-tools` artifact.
pub const KAFKA: &str = "4.3.1";

/// Where Kafka's log lines go; without it they are lost.
pub(crate) const LOG4J: &str = "2.25.4";

/// Apicurio Registry, which speaks Confluent's REST API. 3.1 and later need Java 21.
pub const APICURIO: &str = "3.0.9";

/// Avro for Java, which our bytes are checked against.
pub const AVRO: &str = "1.12.1";

/// 3.x resolves an artifact's parent POM even to copy one file, and Apicurio's is not published.
pub(crate) const MAVEN_DEPENDENCY_PLUGIN: &str = "2.10";

/// The oldest Java that Kafka's broker runs on.
pub const JAVA: u32 = 17;
