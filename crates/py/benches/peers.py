"""Produce and consume beside confluent-kafka and aiokafka, on a real broker.

    python peers.py [--events 200000] [--rounds 3] [CONTENDER ...]

KAFKA_BOOTSTRAP_SERVERS and KAFKA_SCHEMA_REGISTRY_URL say where. Contenders run one after the other, round
by round, each in a process of its own whose CPU time is counted; the medians are printed. Every event is
an `AuditAPICallEvent` to `audit-api-calls`, delivered before the clock stops.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
REGISTRY = os.environ.get("KAFKA_SCHEMA_REGISTRY_URL", "")
TOPIC = "audit-api-calls"
#: The prefixes of the topics to consume, one for each run.
AVRO_PREFIX = os.environ.setdefault("BENCH_AVRO_PREFIX", f"avro-{uuid.uuid4()}-")
JSON_PREFIX = os.environ.setdefault("BENCH_JSON_PREFIX", f"json-{uuid.uuid4()}-")
SCHEMA = Path(__file__).resolve().parents[3] / "schemas/AuditAPICallEvent.avsc"
SERVICES = [f"service-{number}" for number in range(64)]


def call(number: int) -> dict[str, Any]:
    return {
        "service": SERVICES[number % 64],
        "endpoint": "/api/v1/prices/commodities",
        "method": "GET",
        "status_code": 200,
        "latency_ms": number % 500,
        "request_size": 512,
        "response_size": 20480,
        "user_id": "user-1234",
        "ip_address": "192.0.2.17",
    }


def fields(number: int) -> dict[str, Any]:
    one = call(number)
    one["request_size_bytes"] = one.pop("request_size")
    one["response_size_bytes"] = one.pop("response_size")
    return one


def connection() -> dict[str, str]:
    """confluent-kafka's configuration for the brokers in the environment."""
    variables = {
        "bootstrap.servers": "KAFKA_BOOTSTRAP_SERVERS",
        "security.protocol": "KAFKA_SECURITY_PROTOCOL",
        "ssl.ca.location": "KAFKA_SSL_CA_LOCATION",
        "ssl.certificate.location": "KAFKA_SSL_CERTIFICATE_LOCATION",
        "ssl.key.location": "KAFKA_SSL_KEY_LOCATION",
    }
    return {name: os.environ[it] for name, it in variables.items() if it in os.environ}


class OldShape:
    """As services did before: a dict, json.dumps and confluent-kafka, polled for every event."""

    def __init__(self) -> None:
        from confluent_kafka import Producer
        from confluent_kafka.serialization import StringSerializer

        self.delivered = 0
        self.text = StringSerializer("utf_8")
        self.producer = Producer(
            {
                **connection(),
                "client.id": "old-producer",
                "compression.type": "lz4",
                "linger.ms": 10,
                "batch.size": 16384,
                "acks": "all",
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.delivered += 1

    def produce(self, **given: Any) -> None:
        event = {
            "eventId": str(uuid.uuid4()),
            "eventType": "AuditAPICallEvent",
            "timestamp": int(time.time() * 1000),
            "source": "billing",
            "version": "1.0.0",
            "service": given["service"],
            "endpoint": given["endpoint"],
            "method": given["method"],
            "statusCode": given["status_code"],
            "latencyMs": given["latency_ms"],
            "requestSizeBytes": given["request_size"],
            "responseSizeBytes": given["response_size"],
            "userId": given["user_id"],
            "ipAddress": given["ip_address"],
            "errorMessage": None,
        }
        self.producer.produce(
            topic=TOPIC,
            key=self.text(given["service"]),
            value=json.dumps(event).encode("utf-8"),
            on_delivery=self._delivered,
        )
        self.producer.poll(0)


def old_shape(count: int) -> None:
    old = OldShape()
    yield_ready()
    for number in range(count):
        old.produce(
            service=SERVICES[number % 64],
            endpoint="/api/v1/prices/commodities",
            method="GET",
            status_code=200,
            latency_ms=number % 500,
            request_size=512,
            response_size=20480,
            user_id="user-1234",
            ip_address="192.0.2.17",
        )
    old.producer.flush()
    assert old.delivered == count


def confluent_avro(count: int) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    serialize = AvroSerializer(SchemaRegistryClient({"url": REGISTRY}), SCHEMA.read_text())
    context = SerializationContext(TOPIC, MessageField.VALUE)
    producer = Producer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "compression.type": "lz4",
            "linger.ms": 10,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    yield_ready()
    for number in range(count):
        event = {
            "eventId": str(uuid.uuid4()),
            "eventType": "AuditAPICallEvent",
            "timestamp": int(time.time() * 1000),
            "source": "billing",
            "version": "1.0.0",
            "service": SERVICES[number % 64],
            "endpoint": "/api/v1/prices/commodities",
            "method": "GET",
            "statusCode": 200,
            "latencyMs": number % 500,
            "requestSizeBytes": 512,
            "responseSizeBytes": 20480,
            "userId": "user-1234",
            "ipAddress": "192.0.2.17",
        }
        producer.produce(TOPIC, serialize(event, context), event["service"])
        producer.poll(0)
    assert producer.flush() == 0


def drop_in(count: int, registry: str | None) -> None:
    from event_producer import EventProducer

    producer = EventProducer(BOOTSTRAP, registry, "billing", "PLAINTEXT")
    yield_ready()
    for number in range(count):
        producer.produce_api_call_event(
            service=SERVICES[number % 64],
            endpoint="/api/v1/prices/commodities",
            method="GET",
            status_code=200,
            latency_ms=number % 500,
            request_size=512,
            response_size=20480,
            user_id="user-1234",
            ip_address="192.0.2.17",
        )
    assert producer.flush(60) == 0
    assert producer.delivery_count == count


def drop_in_avro(count: int) -> None:
    drop_in(count, REGISTRY)


def drop_in_json(count: int) -> None:
    os.environ.pop("KAFKA_SCHEMA_REGISTRY_URL", None)
    drop_in(count, None)


def producer() -> Any:
    from carbon_events import EventProducer

    return EventProducer(
        bootstrap_servers=BOOTSTRAP,
        schema_registry_url=REGISTRY,
        security_protocol="PLAINTEXT",
        service_name="billing",
    )


def typed(count: int) -> None:
    from carbon_events import AuditAPICallEvent

    made = producer()
    yield_ready()
    send = made.send
    for number in range(count):
        send(
            AuditAPICallEvent(
                service=SERVICES[number % 64],
                endpoint="/api/v1/prices/commodities",
                method="GET",
                status_code=200,
                latency_ms=number % 500,
                request_size_bytes=512,
                response_size_bytes=20480,
                user_id="user-1234",
                ip_address="192.0.2.17",
            )
        )
    made.flush(60)
    assert made.stats()["delivered"] == count


def dicts(count: int) -> None:
    from carbon_events import AuditAPICallEvent

    made = producer()
    items = [fields(number) for number in range(1000)]
    yield_ready()
    for _ in range(count // 1000):
        made.send_many(items, AuditAPICallEvent)
    made.flush(60)
    assert made.stats()["delivered"] == count // 1000 * 1000


def columns(count: int) -> None:
    from carbon_events import AuditAPICallEvent

    made = producer()
    items = [fields(number) for number in range(1000)]
    lists = {name: [item[name] for item in items] for name in items[0]}
    yield_ready()
    for _ in range(count // 1000):
        made.send_many(lists, AuditAPICallEvent)
    made.flush(60)


def arrow(count: int) -> None:
    import pyarrow
    from carbon_events import AuditAPICallEvent

    made = producer()
    table = pyarrow.Table.from_pylist([fields(number) for number in range(1000)])
    yield_ready()
    for _ in range(count // 1000):
        made.send_many(table, AuditAPICallEvent)
    made.flush(60)


def asyncio_ours(count: int) -> None:
    from carbon_events import AsyncEventProducer, AuditAPICallEvent

    async def work() -> None:
        made = AsyncEventProducer(
            bootstrap_servers=BOOTSTRAP,
            schema_registry_url=REGISTRY,
            security_protocol="PLAINTEXT",
            linger_ms=10,
        )

        def one(number: int) -> Any:
            return made.send(AuditAPICallEvent(**fields(number)))

        await one(0)
        yield_ready()
        for start in range(0, count, 10_000):
            await asyncio.gather(*(one(start + number) for number in range(10_000)))
        await made.close()

    asyncio.run(work())


def asyncio_aiokafka(count: int) -> None:
    from aiokafka import AIOKafkaProducer

    async def work() -> None:
        made = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=10, max_batch_size=1 << 18)
        await made.start()

        def one(number: int) -> Any:
            event = fields(number)
            return made.send_and_wait(TOPIC, json.dumps(event).encode(), event["service"].encode())

        await one(0)
        yield_ready()
        for start in range(0, count, 10_000):
            await asyncio.gather(*(one(start + number) for number in range(10_000)))
        await made.stop()

    asyncio.run(work())


def asyncio_confluent(count: int) -> None:
    from confluent_kafka.aio import AIOProducer

    async def work() -> None:
        made = AIOProducer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 10})

        async def one(number: int) -> None:
            event = fields(number)
            delivery = await made.produce(TOPIC, json.dumps(event).encode(), event["service"])
            await delivery

        await one(0)
        yield_ready()
        for start in range(0, count, 10_000):
            await asyncio.gather(*(one(start + number) for number in range(10_000)))
        await made.close()

    asyncio.run(work())


def awaited_alone(count: int) -> None:
    """One awaited send after the other; prints the median."""
    from carbon_events import AsyncEventProducer, AuditAPICallEvent

    async def work() -> None:
        made = AsyncEventProducer(
            bootstrap_servers=BOOTSTRAP,
            schema_registry_url=REGISTRY,
            security_protocol="PLAINTEXT",
        )
        await made.send(AuditAPICallEvent(**fields(0)))
        yield_ready()
        times = []
        for number in range(min(count, 2000)):
            began = time.perf_counter()
            await made.send(AuditAPICallEvent(**fields(number)))
            times.append(time.perf_counter() - began)
        print(f"median {statistics.median(times) * 1000:.2f} ms", file=sys.stderr)
        await made.close()

    asyncio.run(work())


def fill(prefix: str, count: int) -> None:
    """Fills the topic for consumers of one format. The format is in the prefix."""
    from carbon_events import AuditAPICallEvent, EventProducer
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = NewTopic(prefix + TOPIC, 12, 1)
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([topic])[topic.topic].result(30)
    with EventProducer(
        bootstrap_servers=BOOTSTRAP,
        schema_registry_url=REGISTRY,
        security_protocol="PLAINTEXT",
        service_name="billing",
        topic_prefix=prefix,
        format="json" if prefix.startswith("json") else "avro",
    ) as made:
        for start in range(0, count, 1000):
            items = [fields(start + number) for number in range(1000)]
            made.send_many(items, AuditAPICallEvent)


def consumer(count: int) -> Any:
    from carbon_events import EventConsumer

    return EventConsumer(
        AVRO_PREFIX + TOPIC,
        bootstrap_servers=BOOTSTRAP,
        schema_registry_url=REGISTRY,
        security_protocol="PLAINTEXT",
        group_id=f"bench-{uuid.uuid4()}",
    )


def consume_unread(count: int) -> None:
    with consumer(count) as made:
        made.next_record(30)
        yield_ready()
        left = count
        while left > 0:
            for _ in made.next_batch(30):
                left -= 1


def consume_read(count: int) -> None:
    from operator import attrgetter

    from carbon_events import AuditAPICallEvent

    envelope = ("event_id", "event_type", "timestamp", "source", "version", "correlation_id", "causation_id")
    read = attrgetter(*envelope, *AuditAPICallEvent.__match_args__)
    with consumer(count) as made:
        made.next_record(30)
        yield_ready()
        left = count
        while left > 0:
            for record in made.next_batch(30):
                read(record.event)
                left -= 1


def confluent_consumer(topic: str) -> Any:
    from confluent_kafka import Consumer

    made = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": f"bench-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    )
    made.subscribe([topic])
    while made.poll(1) is None:
        pass
    return made


def consume_confluent_avro(count: int) -> None:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    read = AvroDeserializer(SchemaRegistryClient({"url": REGISTRY}))
    context = SerializationContext(TOPIC, MessageField.VALUE)
    made = confluent_consumer(AVRO_PREFIX + TOPIC)
    yield_ready()
    left = count
    while left > 0:
        for message in made.consume(500, 5):
            read(message.value(), context)
            left -= 1
    made.close()


def consume_confluent_json(count: int) -> None:
    made = confluent_consumer(JSON_PREFIX + TOPIC)
    yield_ready()
    left = count
    while left > 0:
        for message in made.consume(500, 5):
            json.loads(message.value())
            left -= 1
    made.close()


PRODUCE = [old_shape, confluent_avro, drop_in_json, drop_in_avro, typed, dicts, columns, arrow]
ASYNC = [asyncio_aiokafka, asyncio_confluent, asyncio_ours, awaited_alone]
CONSUME = [consume_confluent_avro, consume_confluent_json, consume_read, consume_unread]
CONTENDERS = {one.__name__: one for one in (*PRODUCE, *ASYNC, *CONSUME)}

_began = (0.0, 0.0)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def yield_ready() -> None:
    """Called once everything is imported and created: the measurement starts here."""
    global _began
    _began = (time.perf_counter(), cpu())


def run_one(name: str, count: int) -> None:
    CONTENDERS[name](count)
    wall, used = time.perf_counter() - _began[0], cpu() - _began[1]
    print(json.dumps({"rate": count / wall, "cpu": used / count * 1e6}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("contenders", nargs="*", default=[])
    options = parser.parse_args()
    if options.one:
        return run_one(options.one, options.events)
    names = options.contenders or [one.__name__ for one in (*PRODUCE, *ASYNC, *CONSUME)]
    consuming = {one.__name__ for one in CONSUME}
    if consuming.intersection(names):
        # More than is counted: the records of the first batch do not count.
        fill(AVRO_PREFIX, options.events + 20_000)
        fill(JSON_PREFIX, options.events + 20_000)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--one", name, "--events", str(options.events)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'contender':26} {'events/s':>12} {'CPU s a million':>16}")
    for name, rounds in results.items():
        rate = statistics.median(one["rate"] for one in rounds)
        used = statistics.median(one["cpu"] for one in rounds)
        print(f"{name:26} {rate:12,.0f} {used:16.2f}")


if __name__ == "__main__":
    main()
