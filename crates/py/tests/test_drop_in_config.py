"""The configuration of `event_producer` by arguments, the environment and `additional_config`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from carbon_events import EventError, InvalidConfigError
from carbon_events.testing import Platform
from event_producer import EventProducer, Producer

#: The default properties of the low-level producer, without names and protocol.
TUNING = {
    "compression.type": "lz4",
    "linger.ms": 10,
    "batch.size": 16384,
    "acks": "all",
    "retries": 3,
    "max.in.flight.requests.per.connection": 5,
    "enable.idempotence": True,
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("KAFKA_"):
            monkeypatch.delenv(name)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as made:
        yield made


def config_of(*args: Any, **kwargs: Any) -> Any:
    """The configuration with which `EventProducer` creates its low-level producer."""
    with mock.patch("event_producer.Producer") as patched:
        EventProducer(*args, **kwargs)
    [config] = patched.call_args.args
    return config


def test_the_configuration_is_that_of_before() -> None:
    assert config_of("a:1", source_service="billing") == {
        "bootstrap.servers": "a:1",
        "client.id": "billing-producer",
        "security.protocol": "SSL",
        **TUNING,
    }


def test_arguments_win_over_variables_and_additional_config_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "env:1")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", "/env/ca")
    monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_LOCATION", "/env/cert")
    monkeypatch.setenv("KAFKA_SSL_KEY_LOCATION", "/env/key")
    monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", "env-password")
    config = config_of()
    assert config["bootstrap.servers"] == "env:1"
    assert config["security.protocol"] == "SASL_SSL"
    assert config["ssl.ca.location"] == "/env/ca"
    assert config["ssl.key.password"] == "env-password"
    config = config_of(
        "arg:1",
        security_protocol="ssl",
        ssl_ca_location="/arg/ca",
        ssl_key_password="arg-password",
        additional_config={"ssl.ca.location": "/more/ca", "linger.ms": 50, "acks": None},
    )
    assert config["bootstrap.servers"] == "arg:1"
    assert config["security.protocol"] == "SSL"
    assert config["ssl.ca.location"] == "/more/ca"
    assert config["ssl.certificate.location"] == "/env/cert"
    assert config["ssl.key.password"] == "arg-password"
    assert (config["linger.ms"], config["acks"]) == (50, None)


def test_a_keystore_and_its_password_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_SSL_KEYSTORE_LOCATION", "/store.p12")
    monkeypatch.setenv("KAFKA_SSL_KEYSTORE_PASSWORD", "changeit")
    config = config_of("a:1")
    assert config["ssl.keystore.location"] == "/store.p12"
    assert config["ssl.keystore.password"] == "changeit"


def test_certificates_are_for_protocols_with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", "/env/ca")
    monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", "secret")
    for protocol in ("plaintext", "SASL_PLAINTEXT"):
        config = config_of("a:1", security_protocol=protocol)
        assert config["security.protocol"] == protocol.upper()
        assert not [name for name in config if name.startswith("ssl.")]


def test_the_environment_is_the_one_that_python_sees() -> None:
    with mock.patch("os.environ", {"KAFKA_BOOTSTRAP_SERVERS": "replaced:1"}):
        assert config_of()["bootstrap.servers"] == "replaced:1"


def test_a_variable_that_an_argument_replaces_may_hold_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "TLS")
    assert config_of("a:1", security_protocol="PLAINTEXT")["security.protocol"] == "PLAINTEXT"
    with pytest.raises(InvalidConfigError, match="KAFKA_SECURITY_PROTOCOL"):
        EventProducer("a:1")


def test_secrets_are_given_on_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2-7f3a"
    (tmp_path / "key").write_text("no key")
    with caplog.at_level(logging.DEBUG):
        options: dict[str, Any] = {
            "sasl.mechanism": "PLAIN",
            "sasl.username": "ada",
            "sasl.password": secret,
        }
        arguments = {"ssl_key_password": secret, "security_protocol": "SASL_SSL"}
        config = config_of("a:1", additional_config=options, **arguments)
        assert config["ssl.key.password"] == config["sasl.password"] == secret
        made = EventProducer("a:1", additional_config=options, **arguments)
        shown = [repr(config), str(config), repr(made), repr(made.producer), repr(vars(made))]
        with pytest.raises(EventError) as error:
            EventProducer("a:1", additional_config={**options, "sasl.passwort": secret})
        shown += [str(error.value), repr(error.value), str(error.value.context)]
        with pytest.raises(EventError) as error:
            EventProducer("a:1", additional_config={**options, "ssl.key.pem": f"{secret}\0"})
        shown += [str(error.value), repr(error.value), str(error.value.context)]
        wrong = EventProducer(
            "localhost:1",
            ssl_certificate_location=str(tmp_path / "key"),
            ssl_key_location=str(tmp_path / "key"),
            ssl_key_password=secret,
        )
        with pytest.raises(EventError) as error:
            wrong.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
        shown += [str(error.value), repr(error.value), str(error.value.context)]
        assert wrong.error_count == 1
    assert not any(secret in one for one in [*shown, caplog.text])


@pytest.mark.parametrize("given", ["argument", "variable", "additional_config"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_login_is_configured_by_properties(
    given: str, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "sasl.mechanisms" if given == "variable" else "sasl.mechanism": mechanism,
        "sasl.username": "ada",
        "sasl.password": "pw",
    }
    protocol = None
    if given == "argument":
        protocol = "sasl_plaintext"
    elif given == "variable":
        monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    else:
        options["security.protocol"] = "SASL_PLAINTEXT"
    made = EventProducer("a:1", security_protocol=protocol, additional_config=options)
    assert made.error_count == 0
    del options["sasl.password"]
    with pytest.raises(InvalidConfigError, match="password"):
        EventProducer("a:1", security_protocol=protocol, additional_config=options)


def test_a_login_that_the_protocol_has_no_use_for_is_passed_over(platform: Platform) -> None:
    options = {"sasl.mechanism": "PLAIN", "sasl.username": "ada", "sasl.password": "pw"}
    servers = platform.bootstrap_servers
    with EventProducer(
        servers, security_protocol="PLAINTEXT", additional_config=options
    ) as made:
        made.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
    assert made.get_stats() == {"delivered": 1, "errors": 0}


def test_values_are_converted_as_confluent_kafka_converts_them(platform: Platform) -> None:
    options = {
        "security.protocol": "plaintext",
        "enable.idempotence": False,
        "socket.keepalive.enable": True,
        "socket.timeout.ms": 5000,
        "linger.ms": 0.5,
        "compression.type": None,
        "ssl.ca.location": None,
        "queue.buffering.max.ms": None,
        "default.topic.config": {"request.required.acks": 1},
        "message.send.max.retries": "2",
        "delivery.report.only.error": False,
    }
    with EventProducer(platform.bootstrap_servers, additional_config=options) as made:
        made.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
    assert made.get_stats() == {"delivered": 1, "errors": 0}


def test_a_second_name_of_a_property_of_ours_replaces_it(platform: Platform) -> None:
    options = {
        "metadata.broker.list": platform.bootstrap_servers,
        "compression.codec": "gzip",
        "security.protocol": "PLAINTEXT",
    }
    with EventProducer("nowhere:1", additional_config=options) as made:
        made.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
    assert made.get_stats() == {"delivered": 1, "errors": 0}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lingr.ms": 5}, "linger.ms"),
        ({"linger.ms": "soon"}, "linger.ms"),
        ({"security.protocol": "TLS"}, "security.protocol"),
        ({"partitioner": "mine"}, "partitioner"),
        ({"log_cb": print}, "log_cb"),
        ({"error_cb": "print"}, "error_cb must be a callable"),
        ({"stats_cb": 1}, "stats_cb must be a callable"),
        ({"throttle_cb": 1}, "throttle_cb must be a callable"),
        ({"oauth_cb": 1}, "oauth_cb must be a callable"),
        ({"on_delivery": 1}, "on_delivery must be a callable"),
        ({5: 5}, "must be a str"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_made(options: Any, error: str) -> None:
    with pytest.raises((EventError, TypeError), match=error):
        EventProducer("a:1", additional_config=options)


def test_a_token_is_asked_for_by_oauth_cb() -> None:
    from conftest import wait_until

    asked: list[str] = []

    def token(config: str) -> tuple[str, float, str, dict[str, str]]:
        asked.append(config)
        return "token", 2_000_000_000.0, "principal", {"traceId": "7"}

    made = EventProducer(
        "localhost:1",
        security_protocol="SASL_PLAINTEXT",
        additional_config={
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.config": "principal=billing",
            "oauth_cb": token,
            "delivery.timeout.ms": 300,
            "linger.ms": 0,
        },
    )
    made.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
    wait_until(lambda: asked)
    assert asked[0] == "principal=billing"


def test_throttle_cb_is_accepted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    EventProducer("a:1", additional_config={"throttle_cb": print})
    assert "throttle_cb is never called" in caplog.text


def test_the_low_level_producer_may_be_made_with_a_dict(platform: Platform) -> None:
    low = Producer({"bootstrap.servers": platform.bootstrap_servers})
    low.produce("data-quality", value=b"{}", key="k")
    assert low.flush(10) == 0
    assert low.delivered == 1
