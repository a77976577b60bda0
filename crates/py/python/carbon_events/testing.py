"""A Kafka broker and a schema registry in the test's own process, with faults on demand.

    from carbon_events import AuditAPICallEvent
    from carbon_events.testing import Platform

    with Platform() as platform:
        run_my_service(platform.environment())
        [record] = platform.records(AuditAPICallEvent)
        assert record.event.status_code == 200

The package's pytest plugin has the fixtures `carbon_platform` (one for each test) and
`carbon_environment` (the same, with the environment variables set that connect a service to it).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from ._consumer import EventConsumer
from ._native import PlatformBase, Record
from ._producer import AsyncEventProducer, EventProducer
from .events import Event

E = TypeVar("E", bound=Event)

_READ_WITHIN_SECONDS = 30.0
#: The broker answers an empty fetch only after this time.
_FETCH_MAX_WAIT_MS = 5


class Platform(PlatformBase):
    """A Kafka broker with the platform's topics and a schema registry, on free ports of 127.0.0.1.

    Args:
        nodes: the number of brokers. Partitions have up to three replicas.
        topic_prefix: the prefix of the platform's topic names, as the clients' setting. It is not in
            `environment()`: pass it to the service.
    """

    def settings(self, **options: Any) -> dict[str, Any]:
        """The settings that connect a producer or a consumer to it, with `options` added."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": "PLAINTEXT",
            "schema_registry_url": self.schema_registry_url,
            "topic_prefix": self.topic_prefix,
            **options,
        }

    def producer(self, **options: Any) -> EventProducer:
        """Creates a producer for it."""
        return EventProducer(**self.settings(**options))

    def async_producer(self, **options: Any) -> AsyncEventProducer:
        """Creates an asyncio producer for it."""
        return AsyncEventProducer(**self.settings(**options))

    @overload
    def consumer(
        self, topics: type[E] | Iterable[type[E]], *, group_id: str = "test", **options: Any
    ) -> EventConsumer[E]: ...
    @overload
    def consumer(
        self, topics: str | Iterable[str], *, group_id: str = "test", **options: Any
    ) -> EventConsumer[Event]: ...
    def consumer(self, topics: Any, *, group_id: str = "test", **options: Any) -> Any:
        """Creates a consumer for it, which receives new records within milliseconds."""
        options.setdefault("fetch_max_wait_ms", _FETCH_MAX_WAIT_MS)
        return EventConsumer(topics, **self.settings(group_id=group_id, **options))

    @overload
    def records(self, topic: type[E]) -> list[Record[E]]: ...
    @overload
    def records(self, topic: str) -> list[Record[Event]]: ...
    def records(self, topic: Any) -> Any:
        """All records of a topic, ordered by partition and offset."""
        with self.consumer(topic, standalone=True, detect_end=True) as consumer:
            records: list[Record[Event]] = []
            while not consumer.at_end():
                batch = consumer.next_batch(_READ_WITHIN_SECONDS)
                if not batch and not consumer.at_end():
                    raise TimeoutError(f"{topic} was not read within {_READ_WITHIN_SECONDS} s")
                records.extend(batch)
        return sorted(records, key=lambda record: (record.partition, record.offset))

    @contextmanager
    def in_environment(self) -> Iterator[Mapping[str, str]]:
        """Sets the environment variables that connect the services of this process to it."""
        variables = self.environment()
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield variables
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def __enter__(self) -> Platform:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


__all__ = ["Platform"]
