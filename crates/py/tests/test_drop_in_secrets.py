"""No API key or sensitive setting leaves `event_producer` in clear, on any path."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import uuid
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from conftest import Services, raw
from event_producer import AuditAPICallEvent, EventProducer, EventType, Producer

SECRET = "sk_live_4242"
OLD, NEW = "old-s3cret", "new-s3cret"

CHANGE = {
    "eventType": "ConfigChangeEvent",
    "configKey": "password",
    "oldValue": OLD,
    "newValue": NEW,
    "sensitive": True,
}


class AddsKey(EventProducer):
    def _create_base_event(self, event_type: Any, **fields: Any) -> dict[str, Any]:
        return {**super()._create_base_event(event_type, **fields), "apiKey": SECRET}


class Lists(EventProducer):
    def produce(self, topic: Any, key: Any, event: Any) -> None:
        super().produce(topic, key, {**event, "apiKey": SECRET})


class SendsItself(EventProducer):
    def _produce(self, topic: Any, key: Any, event: Any) -> None:
        value = json.dumps({**event, "api_key": SECRET}).encode()
        self.producer.produce(topic=topic, key=key, value=value, on_delivery=self._delivery_callback)
        self.producer.poll(0)


def typed(made: EventProducer, key: str) -> None:
    made.produce_api_call_event(key, "/e", "GET", 200, 1, 2, 3)


def no_event(made: EventProducer, key: str) -> None:
    """A typed call with values that the schema does not allow."""
    made.produce_api_call_event(key, "/e", "GET", 2**40, 1, 2, 3, ip_address=None)  # type: ignore[arg-type]


def dataclass(made: EventProducer, key: str) -> None:
    event = AuditAPICallEvent("i", "AuditAPICallEvent", 1, "s", api_key=SECRET)
    assert SECRET not in repr(event)
    made.produce_custom_event("audit-api-calls", key, event.to_dict())
    made.produce_custom_event("market-data", key, dataclasses.asdict(event))


def custom(made: EventProducer, key: str) -> None:
    event = made._create_base_event(EventType.API_CALL, apiKey=SECRET)
    made.produce_custom_event("audit-api-calls", key, event)
    made.produce_custom_event("market-data", key, {"list": [event], "eventType": "x"})
    made.produce("audit-api-calls", key, [{"nested": {"apiKey": SECRET}}])
    made.produce("audit-api-calls", key, {"api_key": [SECRET], "score": float("nan")})


def change(made: EventProducer, key: str) -> None:
    made.produce("market-data", key, CHANGE)
    made.produce("audit-api-calls", key, CHANGE)


PATHS: list[tuple[type[EventProducer], Callable[[EventProducer, str], None]]] = [
    (AddsKey, typed),
    (AddsKey, no_event),
    (Lists, typed),
    (SendsItself, typed),
    (EventProducer, dataclass),
    (EventProducer, custom),
    (EventProducer, change),
]


@pytest.mark.parametrize(("made", "call"), PATHS, ids=lambda it: it.__name__)
@pytest.mark.parametrize("registry", [False, True])
def test_no_secret_is_in_any_byte_on_the_wire(
    registry: bool,
    made: type[EventProducer],
    call: Callable[[EventProducer, str], None],
    services: Services,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = f"secret-{uuid.uuid4()}"
    url = services.schema_registry_url if registry else None
    with caplog.at_level(logging.DEBUG), made(
        services.bootstrap_servers, url, "billing", "PLAINTEXT"
    ) as producer:
        try:
            call(producer, key)
        except ValueError as error:
            # This status code is not valid Avro.
            assert registry and call is no_event and SECRET not in str(error)
    written = [value for topic in ("audit-api-calls", "market-data") for value in raw(services, topic, key)]
    assert written or (registry and call is no_event)
    for value in written:
        assert not any(secret.encode() in value for secret in (SECRET, OLD, NEW))
        assert b"sha256:" in value or call is change
    assert SECRET not in caplog.text


def test_the_rest_of_an_event_is_not_changed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_SCHEMA_REGISTRY_URL", raising=False)
    key = f"rest-{uuid.uuid4()}"
    given = {"apiKey": SECRET, "n": 1e400, "text": "h\u00e9 \ud83d", "deep": [{"a": None}, 2**70]}
    with EventProducer(services.bootstrap_servers, None, "billing", "PLAINTEXT") as producer:
        producer.produce("audit-api-calls", key, given)
        producer.produce("market-data", key, given)
    [treated] = raw(services, "audit-api-calls", key)
    hashed = json.loads(treated)["apiKey"]
    assert hashed == "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()[:16]
    assert treated == json.dumps({**given, "apiKey": hashed}).encode()
    # Nothing marks this as one of our events, on a foreign topic.
    [other] = raw(services, "market-data", key)
    assert other == json.dumps(given).encode()


@pytest.mark.parametrize("call", [typed, custom, change, dataclass], ids=lambda it: it.__name__)
def test_a_low_level_producer_that_replaces_ours_is_given_no_secret(
    call: Callable[[EventProducer, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    class Passes(Producer):
        def produce(self, *args: Any, **kwargs: Any) -> None:
            given.append(kwargs["value"])

    given: list[bytes] = []
    foreign = mock.Mock()
    foreign.produce.side_effect = Passes({}).produce
    for replaced in (foreign, Passes({"bootstrap.servers": "localhost:9092"})):
        made = AddsKey("localhost:9092", source_service="billing")
        made.producer = replaced
        call(made, "k")
    with mock.patch("event_producer.Producer") as patched:
        patched.return_value.produce.side_effect = foreign.produce.side_effect
        call(AddsKey("localhost:9092"), "k")
    assert len(given) % 3 == 0 and given
    for value in given:
        json.loads(value)
        assert not any(secret.encode() in value for secret in (SECRET, OLD, NEW))
        assert b"sha256:" in value or call is change
    assert SECRET not in caplog.text


@pytest.mark.parametrize("registry", [False, True])
def test_a_low_level_producer_that_passes_on_hashes_once(registry: bool, services: Services) -> None:
    class Traced(Producer):
        def produce(self, *args: Any, **kwargs: Any) -> None:
            super().produce(*args, **kwargs)

    key = f"once-{uuid.uuid4()}"
    url = services.schema_registry_url if registry else None
    with mock.patch("event_producer.Producer", Traced):
        made = AddsKey(services.bootstrap_servers, url, "billing", "PLAINTEXT")
    with made:
        typed(made, key)
        made.produce_custom_event("audit-api-calls", key, {"apiKey": SECRET})
    hashed = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()[:16]
    written = raw(services, "audit-api-calls", key)
    assert len(written) == 2 and all(hashed.encode() in value for value in written)


def test_an_event_in_the_place_of_a_text_leaves_without_its_secrets() -> None:
    from carbon_events.testing import Platform

    inner = {"eventType": "AuditAPICallEvent", "apiKey": SECRET}
    with Platform() as platform:
        made = EventProducer(
            platform.bootstrap_servers, platform.schema_registry_url, security_protocol="PLAINTEXT"
        )
        made.produce_api_call_event("s", "/", "GET", 200, 1, 2, 3, user_id=inner)  # type: ignore[arg-type]
        assert made.flush(20) == 0
        [record] = platform.records("audit-api-calls")
        assert json.loads(record.event.user_id)["apiKey"].startswith("sha256:")


def test_metadata_that_names_another_record_leaves_without_its_secrets() -> None:
    from carbon_events.testing import Platform

    metadata = {"eventType": "AuditAPICallEvent", "apiKey": "sk_live_metadata"}
    with Platform() as platform:
        made = EventProducer(
            platform.bootstrap_servers, security_protocol="PLAINTEXT"
        )
        made.produce_data_ingestion_event("prices", 1, 2, "s3://x", metadata=metadata)
        assert made.flush(20) == 0
        [record] = platform.records("data-ingestion")
        assert record.event.metadata["apiKey"].startswith("sha256:")
