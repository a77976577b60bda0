"""One pass through the installed wheel, with the standard library alone: what a platform for which it
was built on another machine must be able to do. The argument is the folder `schemas/`.

Every golden file is decoded and encoded to the same bytes; events of every kind of API go through the
broker and the registry that come with the package.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import traceback
from pathlib import Path
from typing import Any

import carbon_events
import event_producer
from carbon_events import DataIngestionEvent, EventProducer, ServiceHealthEvent
from carbon_events.testing import Platform

HEALTH: dict[str, Any] = {
    "service_name": "billing",
    "namespace": "data-platform",
    "health_status": "HEALTHY",
    "latency_ms": 12,
    "error_rate": 0.002,
}


def check(holds: bool, what: object) -> None:
    if not holds:
        raise AssertionError(what)


def golden(schemas: Path) -> int:
    files = sorted((schemas / "golden").glob("*/*.avro"))
    for path in files:
        record = getattr(carbon_events, path.parent.name)
        event = record.from_avro(path.read_bytes())
        check(record.from_dict(event.to_dict()).to_avro() == path.read_bytes(), path)
    return len(files)


def round_trip() -> None:
    with Platform() as kafka:
        with kafka.producer(compression="zstd") as producer:
            sent = [ServiceHealthEvent(**{**HEALTH, "latency_ms": n}) for n in range(100)]
            for delivery in [producer.send(event) for event in sent]:
                check(delivery.result(60).offset >= 0, delivery)
        read = sorted(record.event.latency_ms for record in kafka.records(ServiceHealthEvent))
        check(read == list(range(100)), read)

        with kafka.in_environment():
            with event_producer.EventProducer(source_service="old") as old:
                old.produce_data_ingestion_event("prices", 3, 4096, "s3://bucket/prices")
        [ingested] = kafka.records(DataIngestionEvent)
        check(ingested.event.source == "old", ingested)

        async def asynchronous() -> None:
            async with kafka.async_producer() as producer:
                check((await producer.send(ServiceHealthEvent(**HEALTH))).offset >= 0, producer)

        asyncio.run(asynchronous())

        # An error crosses the binding with its traceback.
        try:
            ServiceHealthEvent(**{**HEALTH, "error_rate": 85.0})
        except carbon_events.InvalidEventError:
            check("error_rate" in traceback.format_exc(), traceback.format_exc())
        else:
            raise AssertionError("an error rate of 85 was taken")
        # The library contains OpenSSL, which rejects this file.
        try:
            with EventProducer(
                bootstrap_servers=kafka.bootstrap_servers,
                security_protocol="SSL",
                ssl_ca_location=__file__,
            ) as producer:
                producer.send(ServiceHealthEvent(**HEALTH)).result(60)
        except carbon_events.EventError as error:
            check("certificates in ssl_ca_location" in str(error), error)
        else:
            raise AssertionError("a file without a certificate was taken")


def main() -> None:
    files = golden(Path(sys.argv[1]))
    round_trip()
    name, version = platform.libc_ver()
    libc = f"{name} {version}" if name == "glibc" else "musl"
    print(
        f"passed: {files} golden files and round trips on Python {platform.python_version()},"
        f" {platform.machine()}, {libc}"
    )


main()
