"""Reads and writes our topics with confluent-kafka and fastavro, as Python services do.

    interop.py read BOOTSTRAP REGISTRY SCHEMAS TOPIC COUNT [READER_SCHEMA]
    interop.py write BOOTSTRAP REGISTRY SCHEMAS

``read`` prints COUNT records of a topic from its beginning, ``write`` takes records and prints where
each of them is; one JSON object a line, the same as in tests/java/Interop.java. SCHEMAS is the
directory of the .avsc files, for single-object encoding and for records that bring no schema.
"""

import datetime
import io
import json
import sys
import time
import uuid
from pathlib import Path

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

DEADLINE_SECONDS = 60
SINGLE_OBJECT = b"\xc3\x01"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Schemas:
    """The .avsc files, by record name and by fingerprint."""

    def __init__(self, directory):
        self.by_name = {}
        self.by_fingerprint = {}
        for path in Path(directory).glob("*.avsc"):
            schema = json.loads(path.read_text(encoding="utf-8"))
            self.by_name[schema["name"]] = schema
            self.by_fingerprint[fingerprint(schema)] = schema


def fingerprint(schema):
    """The CRC-64-AVRO fingerprint, as it stands after the marker of single-object encoding."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def read(bootstrap, registry, schemas, topic, count, reader_schema=None):
    """Yields a description of each of the first ``count`` records that arrive from ``topic``."""
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}), reader_schema)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"interop-{uuid.uuid4()}",
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic, DEADLINE_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    end = time.monotonic() + DEADLINE_SECONDS
    seen = 0
    while seen < count:
        if time.monotonic() > end:
            sys.exit(f"only {seen} of {count} records in {topic}")
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            sys.exit(str(message.error()))
        seen += 1
        yield describe(message, deserialize, schemas, reader_schema)
    consumer.close()


def describe(message, deserialize, schemas, reader_schema):
    """One record as a line for the caller."""
    value = message.value()
    schema_id = None
    if value[:1] == b"\0":
        wire_format, schema_id = "confluent", int.from_bytes(value[1:5], "big")
        event = deserialize(value, SerializationContext(message.topic(), MessageField.VALUE))
    elif value[:2] == SINGLE_OBJECT:
        wire_format = "single-object"
        reader = json.loads(reader_schema) if reader_schema else None
        body = io.BytesIO(value[10:])
        event = fastavro.schemaless_reader(body, schemas.by_fingerprint[value[2:10]], reader)
        if body.read():
            sys.exit("bytes are left after the event")
    else:
        wire_format, event = "json", json.loads(value)
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "key": message.key().decode() if message.key() is not None else None,
        "headers": {name: text.decode() for name, text in message.headers() or []},
        "format": wire_format,
        "schemaId": schema_id,
        "event": event,
    }


def plain(value):
    """Logical types as they stand on the wire."""
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"no event holds a {type(value)}")


def write(bootstrap, registry, schemas, lines):
    """Sends the records of ``lines`` and returns where each of them is, in their order."""
    client = SchemaRegistryClient({"url": registry})
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    serializers = {}
    places = []
    for number, line in enumerate(map(json.loads, lines)):
        places.append(None)

        def delivered(error, message, number=number):
            if error is not None:
                sys.exit(str(error))
            places[number] = {"partition": message.partition(), "offset": message.offset()}

        key = line.get("key")
        producer.produce(
            line["topic"],
            key=None if key is None else key.encode(),
            value=encode(line, client, schemas, serializers),
            on_delivery=delivered,
        )
    if producer.flush(DEADLINE_SECONDS):
        sys.exit("not all records were delivered")
    return places


def encode(line, client, schemas, serializers):
    """One record's value in the format that the line asks for."""
    event = line["event"]
    if line["format"] == "json":
        return json.dumps(event).encode()
    schema = line.get("schema") or schemas.by_name[event["eventType"]]
    if line["format"] == "confluent":
        text = json.dumps(schema)
        if text not in serializers:
            serializers[text] = AvroSerializer(client, text)
        context = SerializationContext(line["topic"], MessageField.VALUE)
        return serializers[text](event, context)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, event)
    return SINGLE_OBJECT + fingerprint(schema) + body.getvalue()


def main():
    command, bootstrap, registry, schemas = sys.argv[1:5]
    schemas = Schemas(schemas)
    sys.stdout.reconfigure(encoding="utf-8")
    if command == "read":
        topic, count, *reader_schema = sys.argv[5:]
        answer = read(bootstrap, registry, schemas, topic, int(count), *reader_schema)
    else:
        sys.stdin.reconfigure(encoding="utf-8")
        answer = write(bootstrap, registry, schemas, sys.stdin)
    for line in answer:
        print(json.dumps(line, default=plain))


if __name__ == "__main__":
    main()
