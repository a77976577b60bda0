"""Keys, key stores and logins, in every form in which a service configures them."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carbon_events import AuthenticationError, EventConsumer, InvalidConfigError
from carbon_events import EventProducer as TypedProducer
from conftest import Services, serve
from event_producer import EventProducer

PASSWORD = "only for tests"
TOPIC = "data-quality"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Services]:
    with serve("--tls", "--sasl") as services:
        yield services


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["KAFKA_SCHEMA_REGISTRY_URL", "KAFKA_SECURITY_PROTOCOL"]:
        monkeypatch.delenv(name, raising=False)


class Guarded:
    """The broker's listeners and credentials."""

    def __init__(self, services: Services) -> None:
        environment = services.environment
        self.tls = environment["KAFKA_BOOTSTRAP_SERVERS"]
        self.ca = environment["KAFKA_SSL_CA_LOCATION"]
        self.certificate = environment["KAFKA_SSL_CERTIFICATE_LOCATION"]
        self.key = environment["KAFKA_SSL_KEY_LOCATION"]
        self.sasl = services.comment("SASL_PLAINTEXT")
        self.sasl_tls = services.comment("SASL_SSL")
        self.plaintext = services.comment("without TLS")

    def keys(self) -> dict[str, str]:
        return {"ssl_ca_location": self.ca, "ssl_certificate_location": self.certificate}


@pytest.fixture(scope="module")
def broker(guarded: Services) -> Guarded:
    return Guarded(guarded)


@pytest.fixture(scope="module")
def files(broker: Guarded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The client's key in every supported form."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.serialization import pkcs12

    directory = tmp_path_factory.mktemp("keys")
    key: Any = form.load_pem_private_key(Path(broker.key).read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(Path(broker.certificate).read_bytes())
    encrypted = form.BestAvailableEncryption(PASSWORD.encode())
    crlf = Path(broker.certificate).read_text().replace("\n", "\r\n").encode()
    contents = {
        "pkcs8": key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encrypted),
        "traditional": key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, encrypted
        ),
        "keystore": pkcs12.serialize_key_and_certificates(
            b"client", key, certificate, None, encrypted
        ),
        "crlf": crlf,
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = directory / name
        paths[name].write_bytes(content)
    return paths


def deliver(producer: EventProducer) -> None:
    producer.produce_data_quality_event(f"key-{uuid.uuid4()}", "t", "n", "PASS", 0.5, 0, 1)
    assert producer.flush(20) == 0
    assert producer.get_stats() == {"delivered": 1, "errors": 0}


@pytest.mark.parametrize("key", ["pkcs8", "traditional"])
@pytest.mark.parametrize("way", ["arguments", "variables", "additional_config"])
def test_the_drop_in_takes_an_encrypted_key(
    broker: Guarded,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    way: str,
) -> None:
    path = str(files[key])
    if way == "arguments":
        made = EventProducer(
            broker.tls, ssl_key_location=path, ssl_key_password=PASSWORD, **broker.keys()
        )
    elif way == "variables":
        monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", broker.ca)
        monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_LOCATION", str(files["crlf"]))
        monkeypatch.setenv("KAFKA_SSL_KEY_LOCATION", path)
        monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", PASSWORD)
        made = EventProducer(broker.tls)
    else:
        config = {
            "ssl.ca.location": broker.ca,
            "ssl.certificate.location": broker.certificate,
            "ssl.key.location": path,
            "ssl.key.password": PASSWORD,
        }
        made = EventProducer(broker.tls, additional_config=config)
    with made:
        deliver(made)


@pytest.mark.parametrize("way", ["variables", "additional_config"])
def test_the_drop_in_takes_a_key_store(
    broker: Guarded, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", broker.ca)
    config = {}
    if way == "variables":
        monkeypatch.setenv("KAFKA_SSL_KEYSTORE_LOCATION", str(files["keystore"]))
        monkeypatch.setenv("KAFKA_SSL_KEYSTORE_PASSWORD", PASSWORD)
    else:
        config = {
            "ssl.keystore.location": str(files["keystore"]),
            "ssl.keystore.password": PASSWORD,
        }
    with EventProducer(broker.tls, additional_config=config) as made:
        deliver(made)


def test_the_typed_producer_takes_an_encrypted_key_and_a_key_store(
    broker: Guarded, files: dict[str, Path]
) -> None:
    for options in [
        {
            "ssl_certificate_location": broker.certificate,
            "ssl_key_location": str(files["traditional"]),
            "ssl_key_password": PASSWORD,
        },
        {
            "ssl_keystore_location": str(files["keystore"]),
            "ssl_keystore_password": PASSWORD,
        },
    ]:
        given = {"bootstrap_servers": broker.tls, "ssl_ca_location": broker.ca, **options}
        with TypedProducer(**given) as producer:
            producer.send_raw(TOPIC, b"v").result(20)
        with EventConsumer(TOPIC, standalone=True, detect_end=True, **given) as consumer:
            assert sum(1 for _ in consumer) > 0


def test_a_wrong_password_is_refused_by_its_setting_and_not_shown(
    broker: Guarded, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = EventProducer(
            broker.tls,
            ssl_key_location=str(files["pkcs8"]),
            ssl_key_password="not-this-one",
            **broker.keys(),
        )
        with pytest.raises(InvalidConfigError, match=r"ssl.key") as caught:
            made.produce_data_quality_event("k", "t", "n", "PASS", 0.5, 0, 1)
    assert made.error_count == 1
    for shown in [str(caught.value), repr(made.producer), caplog.text]:
        assert "not-this-one" not in shown


@pytest.fixture(scope="module")
def user(guarded: Services) -> tuple[str, str]:
    found = re.search(r"# user '(.*)', password '(.*)'", guarded.text)
    assert found
    return found[1], found[2]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("way", ["argument", "variable", "additional_config"])
def test_the_drop_in_logs_in(
    broker: Guarded,
    user: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    mechanism: str,
    way: str,
) -> None:
    name, password = user
    config = {"sasl.mechanisms": mechanism, "sasl.username": name, "sasl.password": password}
    protocol = None
    if way == "argument":
        protocol = "sasl_plaintext"
    elif way == "variable":
        monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    else:
        config["security.protocol"] = "SASL_PLAINTEXT"
    with EventProducer(broker.sasl, security_protocol=protocol, additional_config=config) as made:
        deliver(made)


def test_a_login_over_tls_needs_the_authority_alone(
    broker: Guarded, user: tuple[str, str]
) -> None:
    name, password = user
    options = {
        "bootstrap_servers": broker.sasl_tls,
        "security_protocol": "SASL_SSL",
        "ssl_ca_location": broker.ca,
    }
    config = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": name, "sasl.password": password}
    with EventProducer(additional_config=config, **options) as made:
        deliver(made)
    typed: dict[str, Any] = {
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": name,
        "sasl_password": password,
    }
    with TypedProducer(**options, **typed) as producer:
        producer.send_raw(TOPIC, b"v").result(20)


def test_a_refused_login_is_reported_within_seconds(
    broker: Guarded, user: tuple[str, str]
) -> None:
    producer = TypedProducer(
        bootstrap_servers=broker.sasl,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=user[0],
        sasl_password="not-this-one",
    )
    with pytest.raises(AuthenticationError) as caught:
        producer.send_raw(TOPIC, b"v").result(15)
    assert "not-this-one" not in str(caught.value)
    producer.close()


def test_an_unverified_broker_is_taken_where_the_environment_asks_for_it(
    broker: Guarded, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SSL_REJECT_UNAUTHORIZED", "false")
    # Without its authority the broker's certificate is not trusted.
    made = EventProducer(
        broker.tls,
        ssl_certificate_location=broker.certificate,
        ssl_key_location=str(files["pkcs8"]),
        ssl_key_password=PASSWORD,
    )
    with made:
        deliver(made)
