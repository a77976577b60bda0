"""The event classes: construction, attributes, equality, serialization."""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import pickle
import subprocess
import sys
import uuid
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import carbon_events
import pytest
from carbon_events import (
    AuditAPICallEvent,
    ColumnLineage,
    ConfigChangeEvent,
    DataIngestionEvent,
    DataLineageEvent,
    DataQualityEvent,
    Event,
    EventError,
    FieldTypeError,
    InvalidEventError,
    QualityResult,
    SecurityEvent,
    TransformationType,
    UndecodableError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SCHEMAS
from event_producer import EventType

CALL: dict[str, Any] = {
    "service": "billing",
    "endpoint": "/v1/invoices",
    "method": "GET",
    "status_code": 200,
    "latency_ms": 12,
    "request_size_bytes": 0,
    "response_size_bytes": 5120,
    "ip_address": "192.0.2.17",
}
RECORDS = sorted(path.stem for path in SCHEMAS.glob("*.avsc"))
GOLDEN = sorted((SCHEMAS / "golden").glob("*/*.avro"))
INVALID = sorted((SCHEMAS / "examples").glob("*/invalid/*.json"))


def named(path: Path) -> str:
    return "/".join(path.parts[-3:])


def class_of(name: str) -> Any:
    return getattr(carbon_events, name)


def test_there_is_a_class_for_every_record() -> None:
    assert {event.value for event in EventType} == set(RECORDS)
    for name in RECORDS:
        assert issubclass(class_of(name), Event)


@pytest.mark.parametrize("path", GOLDEN, ids=named)
def test_the_golden_bytes_are_written_and_read(path: Path) -> None:
    record = class_of(path.parent.name)
    example = SCHEMAS / "examples" / path.parent.name / "valid" / f"{path.stem}.json"
    event = record.from_json(example.read_bytes())
    assert event.to_avro() == path.read_bytes()
    assert record.from_avro(path.read_bytes()) == event
    # The constructor writes the same bytes from its attributes.
    assert record.from_dict(event.to_dict()).to_avro() == path.read_bytes()


@pytest.mark.parametrize("path", INVALID, ids=named)
def test_an_invalid_example_is_refused_with_its_exact_error(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    record = class_of(path.parts[-3])
    with pytest.raises(InvalidEventError) as caught:
        record.from_json(json.dumps(example["event"]))
    expected = example["error"]
    assert caught.value.kind == expected["kind"]
    assert caught.value.message == expected["message"]
    assert caught.value.context.get("field") == expected.get("field")


def test_the_envelope_is_filled() -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    event = AuditAPICallEvent(**CALL)
    assert uuid.UUID(event.event_id).version == 7
    assert event.event_type == "AuditAPICallEvent"
    assert abs(event.time - before) < datetime.timedelta(seconds=10)
    assert (event.source, event.version) == ("", "1.0.0")
    assert event.correlation_id is None and event.causation_id is None
    assert event.topic == "audit-api-calls"


def test_attributes_are_what_was_given() -> None:
    event = AuditAPICallEvent(**CALL, user_id="ada")
    for name, value in CALL.items():
        assert getattr(event, name) == value
    assert event.user_id == "ada" and event.error_message is None


def test_an_event_cannot_be_changed() -> None:
    event = AuditAPICallEvent(**CALL)
    with pytest.raises(AttributeError):
        event.service = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        event.something = 1  # type: ignore[attr-defined]


def test_equal_events_are_equal_and_hash_alike() -> None:
    event = AuditAPICallEvent(**CALL)
    same = AuditAPICallEvent.from_avro(event.to_avro())
    assert same == event and hash(same) == hash(event) and same is not event
    assert AuditAPICallEvent(**CALL) != event
    assert event != "an event"
    assert {event: 1}[same] == 1


def test_an_event_is_pickled_and_copied() -> None:
    for event in (AuditAPICallEvent(**CALL), lineage()):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(event, protocol)) == event
        assert copy.copy(event) is event and copy.deepcopy(event) is event


def test_repr_shows_how_to_create_the_event() -> None:
    event = AuditAPICallEvent(**CALL, user_id="ada")
    assert eval(repr(event)) == event
    other = lineage()
    assert eval(repr(other)) == other


def test_replace_changes_the_given_fields() -> None:
    event = AuditAPICallEvent(**CALL)
    changed = event.replace(latency_ms=99, correlation_id="c")
    assert (changed.latency_ms, changed.correlation_id) == (99, "c")
    assert changed.event_id == event.event_id and changed.service == event.service
    with pytest.raises(FieldTypeError, match="unexpected keyword argument: 'nope'"):
        event.replace(nope=1)


def test_events_match_patterns() -> None:
    match AuditAPICallEvent(**CALL):
        case AuditAPICallEvent(service=service, status_code=200 | 201):
            assert service == "billing"
        case _:
            pytest.fail("did not match")


def test_enums_are_text() -> None:
    event = quality()
    assert event.result is QualityResult.PASS and event.result == "PASS"
    assert f"{event.result}" == "PASS" and json.dumps(event.result) == '"PASS"'
    assert quality(result=QualityResult.FAIL).result is QualityResult.FAIL


def test_collections_are_read_back() -> None:
    event = lineage()
    assert event.columns == (
        ColumnLineage("a", "b", None),
        ColumnLineage("c", "d", "upper"),
    )
    ingestion = DataIngestionEvent(**INGESTION, metadata={"hub": "ttf", "é": ""})
    assert ingestion.metadata == {"hub": "ttf", "é": ""}
    assert DataIngestionEvent(**INGESTION).metadata == {}


def test_datetimes_stand_for_timestamps() -> None:
    at = datetime.datetime(2025, 1, 1, 12, tzinfo=datetime.timezone.utc)
    assert AuditAPICallEvent(**CALL, timestamp=at).timestamp == 1735732800000
    assert AuditAPICallEvent(**CALL, timestamp=at).time == at
    early = datetime.datetime(1, 1, 1, tzinfo=datetime.timezone.utc)
    assert AuditAPICallEvent(**CALL, timestamp=early).time == early
    with pytest.raises(InvalidEventError, match="AuditAPICallEvent.timestamp must have a time zone"):
        AuditAPICallEvent(**CALL, timestamp=datetime.datetime(2025, 1, 1))


def test_a_uuid_stands_for_an_id() -> None:
    event_id = uuid.uuid4()
    assert AuditAPICallEvent(**CALL, event_id=event_id).event_id == str(event_id)
    with pytest.raises(InvalidEventError, match="eventId must be a UUID"):
        AuditAPICallEvent(**CALL, event_id="no uuid")


HASH = "sha256:ba7816bf8f01cfea"


def test_what_looks_like_a_hash_is_hashed() -> None:
    given = {**CALL, "api_key": HASH}
    for event in (
        AuditAPICallEvent(**given),
        AuditAPICallEvent.from_dict(given),
        AuditAPICallEvent(**CALL, api_key="abc").replace(api_key=HASH),
        # Only the hash of the key is kept.
        AuditAPICallEvent(**CALL, api_key=AuditAPICallEvent(**CALL, user_id=HASH).to_dict()["user_id"]),
    ):
        assert event.api_key == "sha256:f02734af3c773f54"


def test_the_hash_of_an_event_that_is_passed_on_stays() -> None:
    event = AuditAPICallEvent(**CALL, api_key="abc")
    for same in (
        event.replace(source="other"),
        AuditAPICallEvent.from_dict(event.to_dict()),
        copy.deepcopy(event),
        pickle.loads(pickle.dumps(event)),
        AuditAPICallEvent.from_avro(event.to_avro()),
    ):
        assert same.api_key == HASH and type(same.api_key) is str


def test_a_key_in_the_environment_keys_the_hashes() -> None:
    code = f"""
from carbon_events import AuditAPICallEvent
print(AuditAPICallEvent(**{CALL!r}, api_key="abc").api_key)
"""
    for key, expected in (("secret", "sha256:9946dad4e00e913f"), ("", HASH)):
        environment = {**os.environ, "KAFKA_EVENT_HASH_KEY": key}
        shown = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert shown.strip() == expected


def test_sensitive_fields_are_treated_at_once() -> None:
    event = AuditAPICallEvent(**CALL, api_key="abc")
    assert event.api_key == "sha256:ba7816bf8f01cfea"
    change = ConfigChangeEvent(
        component="db",
        namespace="shop",
        config_key="password",
        change_type="UPDATE",
        old_value="hunter2",
        new_value="s3cret",
        sensitive=True,
        changed_by="ada",
    )
    assert (change.old_value, change.new_value) == ("***", "***")
    assert "hunter2" not in repr(change) and b"s3cret" not in change.to_avro()


def test_integers_of_other_libraries_are_taken() -> None:
    class Index:
        def __index__(self) -> int:
            return 7

    assert AuditAPICallEvent(**{**CALL, "latency_ms": Index()}).latency_ms == 7


MISTAKES = [
    ({"service": 5}, FieldTypeError, "AuditAPICallEvent.service must be a string, got int"),
    ({"service": None}, FieldTypeError, "AuditAPICallEvent.service must be a string, got NoneType"),
    ({"service": ""}, InvalidEventError, "must not be empty"),
    ({"service": "\ud800"}, InvalidEventError, "lone surrogate"),
    ({"status_code": "200"}, FieldTypeError, "AuditAPICallEvent.status_code must be an int, got str"),
    ({"status_code": 2**31}, InvalidEventError, "status_code is out of range for an int"),
    ({"latency_ms": 2**63}, InvalidEventError, "latency_ms is out of range for a long"),
    ({"latency_ms": 1.5}, FieldTypeError, "latency_ms must be a long, got float"),
    ({"latency_ms": True}, FieldTypeError, "latency_ms must be a long, got bool"),
    ({"user_id": b"ada"}, FieldTypeError, "user_id must be a string, got bytes"),
    ({"srevice": "x"}, FieldTypeError, "unexpected keyword argument: 'srevice'"),
]


@pytest.mark.parametrize("change, error, message", MISTAKES, ids=lambda it: str(it)[:40])
def test_a_mistake_is_named(change: dict[str, Any], error: type[EventError], message: str) -> None:
    with pytest.raises(error) as caught:
        AuditAPICallEvent(**{**CALL, **change})
    assert message in str(caught.value)
    assert caught.value.context["event"] == "AuditAPICallEvent"
    if "srevice" not in change:
        assert caught.value.context["field"] in (*change, "service")


def test_missing_keywords_are_all_named() -> None:
    with pytest.raises(TypeError, match="'service', 'endpoint', 'method'"):
        AuditAPICallEvent()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="keywords only"):
        AuditAPICallEvent("billing")  # type: ignore[misc, call-arg]


def test_mistakes_in_collections_are_placed() -> None:
    with pytest.raises(FieldTypeError, match=r"metadata\[1\] must be a string, got int"):
        DataIngestionEvent(**INGESTION, metadata={"a": "b", "c": 1})
    with pytest.raises(FieldTypeError, match=r"metadata\[0\]'s key must be a string, got int"):
        DataIngestionEvent(**INGESTION, metadata={1: "b"})
    with pytest.raises(FieldTypeError, match="metadata must be a map, got list"):
        DataIngestionEvent(**INGESTION, metadata=[])
    with pytest.raises(InvalidEventError, match=r"columns \[0\].target_column is required"):
        lineage(columns=[{"source_column": "a"}])
    with pytest.raises(EventError, match=r"columns\[0\].target_column must be a string"):
        lineage(columns=[("a", 1, None)])


def test_numbers_out_of_bounds_are_refused() -> None:
    for score in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(InvalidEventError, match="DataQualityEvent.score must be in"):
            quality(score=score)
    with pytest.raises(InvalidEventError, match="must be one of PASS, FAIL, WARNING"):
        quality(result="GREAT")


def test_the_base_class_makes_no_event() -> None:
    with pytest.raises(TypeError):
        Event()
    with pytest.raises(TypeError):
        type("Mine", (AuditAPICallEvent,), {})


def test_dataclasses_round_trip() -> None:
    for event in (AuditAPICallEvent(**CALL), lineage(), DataIngestionEvent(**INGESTION)):
        fields = event.to_dict()
        Model = make_dataclass("Model", list(fields))
        assert type(event).from_dict(vars(Model(**fields))) == event


def test_pydantic_models_round_trip() -> None:
    pydantic = pytest.importorskip("pydantic")
    event = quality()
    Model = pydantic.create_model(
        "Model", **{name: (Any, ...) for name in event.to_dict()}
    )
    assert DataQualityEvent.from_dict(Model(**event.to_dict()).model_dump()) == event


def test_the_schemas_names_are_taken_from_a_dict() -> None:
    fields = {"datasetName": "d", "checkType": "c", "checkName": "n", "result": "PASS"}
    event = DataQualityEvent.from_dict({**fields, "score": 1.0, "failedRecords": 0, "totalRecords": 1})
    assert event.dataset_name == "d"
    with pytest.raises(InvalidEventError, match="event_type must be DataQualityEvent"):
        DataQualityEvent.from_dict({"eventType": "SecurityEvent"})


def test_undecodable_bytes_are_refused() -> None:
    with pytest.raises(UndecodableError):
        SecurityEvent.from_avro(b"no event")
    with pytest.raises(UndecodableError):
        SecurityEvent.from_avro(SecurityEvent.from_json(typical("SecurityEvent")).to_avro() + b"x")


def test_large_text_is_kept() -> None:
    text = "é" * (1 << 20)
    assert AuditAPICallEvent(**{**CALL, "endpoint": text}).endpoint == text


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    number=st.integers(-(2**63), 2**63 - 1),
    metadata=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=20,
    ),
)
def test_any_value_reads_back(text: str, number: int, metadata: dict[str, str]) -> None:
    event = DataIngestionEvent(
        **{**INGESTION, "location": text, "record_count": number}, metadata=metadata
    )
    read = DataIngestionEvent.from_avro(event.to_avro())
    assert (read.location, read.record_count, read.metadata) == (text, number, metadata)
    assert json.loads(event.to_json())["location"] == text


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_an_error(body: bytes) -> None:
    for name in RECORDS:
        try:
            repr(class_of(name).from_avro(body))
        except UndecodableError:
            pass


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*CALL, "user_id", "timestamp", "event_id", "nope"]),
        st.none() | st.integers() | st.text() | st.floats() | st.binary() | st.lists(st.text()),
    )
)
def test_any_arguments_make_an_event_or_an_error(change: dict[str, Any]) -> None:
    try:
        repr(AuditAPICallEvent(**{**CALL, **change}))
    except EventError as error:
        assert error.context


INGESTION: dict[str, Any] = {
    "dataset_name": "prices",
    "record_count": 10,
    "size_bytes": 100,
    "format": "parquet",
    "location": "s3://lake/prices",
    "status": "SUCCESS",
}


def typical(record: str) -> bytes:
    return (SCHEMAS / "examples" / record / "valid" / "typical.json").read_bytes()


def quality(**changes: Any) -> DataQualityEvent:
    fields: dict[str, Any] = {
        "dataset_name": "prices",
        "check_type": "completeness",
        "check_name": "price_not_null",
        "result": "PASS",
        "score": 0.5,
        "failed_records": 0,
        "total_records": 1,
    }
    return DataQualityEvent(**{**fields, **changes})


def lineage(**changes: Any) -> DataLineageEvent:
    fields: dict[str, Any] = {
        "source_dataset": "raw",
        "target_dataset": "clean",
        "transformation_type": TransformationType.JOIN,
        "transformation_name": "t",
        "columns": [
            {"sourceColumn": "a", "target_column": "b"},
            ColumnLineage("c", "d", "upper"),
        ],
    }
    return DataLineageEvent(**{**fields, **changes})
