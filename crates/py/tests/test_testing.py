"""`carbon_events.testing`, as a service's own tests use it."""

from __future__ import annotations

import os

import pytest
from carbon_events import EventProducer
from carbon_events.testing import Platform
from event_producer import get_event_producer
from test_events import quality


def test_a_services_events_are_looked_at(carbon_environment: Platform) -> None:
    with get_event_producer("billing") as producer:
        producer.produce_data_quality_event("prices", "t", "n", "PASS", 0.5, 0, 1)
    [record] = carbon_environment.records("data-quality")
    assert (record.event.source, record.event.score) == ("billing", 0.5)


def test_the_environment_is_as_it_was(carbon_platform: Platform) -> None:
    before = dict(os.environ)
    with carbon_platform.in_environment() as variables:
        assert os.environ["KAFKA_BOOTSTRAP_SERVERS"] == variables["KAFKA_BOOTSTRAP_SERVERS"]
        with EventProducer(service_name="s") as producer:
            assert producer.send(quality()).result(30).offset == 0
    assert dict(os.environ) == before


def test_faults_pass(carbon_platform: Platform) -> None:
    with carbon_platform.producer() as producer:
        producer.send(quality()).result(30)
        carbon_platform.broker_fail("PRODUCE", "NOT_LEADER", 2)
        assert producer.send(quality()).result(30).offset >= 0
        carbon_platform.broker_down()
        delivery = producer.send(quality())
        carbon_platform.broker_up()
        assert delivery.result(30).offset >= 0


def test_a_registry_that_is_down_is_waited_for(carbon_platform: Platform) -> None:
    carbon_platform.registry_down()
    with carbon_platform.producer() as producer:
        delivery = producer.send(quality())
        with pytest.raises(TimeoutError):
            delivery.result(0.3)
        carbon_platform.registry_up()
        assert delivery.result(30).offset >= 0


def test_a_wrong_word_is_named(carbon_platform: Platform) -> None:
    with pytest.raises(ValueError, match="NONSENSE is no kind of request"):
        carbon_platform.broker_fail("NONSENSE", "NOT_LEADER", 1)


def test_a_stopped_platform_says_so() -> None:
    platform = Platform()
    platform.stop()
    with pytest.raises(Exception, match="was stopped"):
        platform.bootstrap_servers
