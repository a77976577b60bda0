"""Real services for the tests, and shared helpers.

The wheel is tested as it is installed, never from the source tree. Services are started by the
repository's `carbon-events-services`, whose path is in CARBON_EVENTS_SERVICES.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMAS = REPOSITORY / "schemas"
START_WITHIN_SECONDS = 300
TABLE = json.loads((SCHEMAS / "topics.json").read_bytes())["topics"]
TOPICS = {row["topic"]: row["partitions"] for row in TABLE} | {"market-data": 3}


SNIPPET = re.compile(r"(?:<!-- test: (\w+) -->\n)?```python\n(.*?)```", re.DOTALL)


@dataclass
class Snippet:
    """A Python snippet of a document, and how it is tested."""

    name: str
    kind: str
    code: str


def snippets() -> Iterator[Snippet]:
    for page in ["docs/python.md", "README.md"]:
        found = SNIPPET.findall((REPOSITORY / page).read_text(encoding="utf-8"))
        for number, (kind, code) in enumerate(found):
            yield Snippet(f"{page}-{number}", kind, code)


@dataclass
class Services:
    """A real Kafka and a real registry."""

    bootstrap_servers: str
    schema_registry_url: str
    environment: dict[str, str] = field(default_factory=dict)
    #: The output of the services: variables and comments.
    text: str = ""

    def comment(self, name: str) -> str:
        """The value of a comment, such as the address of another listener."""
        found = re.search(rf"^# {name}: (.*)$", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    def settings(self, **options: Any) -> dict[str, Any]:
        """Keywords for a producer or a consumer."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": "PLAINTEXT",
            "schema_registry_url": self.schema_registry_url,
            **options,
        }

    def group(self) -> str:
        return f"test-{uuid.uuid4()}"


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with serve() as started:
        yield started


@contextmanager
def serve(*options: str) -> Iterator[Services]:
    """Runs services with these options of `cargo xtask services up`."""
    program = os.environ.get("CARBON_EVENTS_SERVICES")
    if program is None:
        raise pytest.fail.Exception("CARBON_EVENTS_SERVICES names no program; run cargo xtask test")
    # A socket's path may have about 100 bytes.
    directory = tempfile.mkdtemp(prefix="ce-", dir="/tmp")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{directory}/socket")
    listener.listen()
    environment = {**os.environ, "CARBON_EVENTS_RUN_DIR": f"{directory}/run"}
    with open(f"{directory}/log", "w+b") as log:
        keeper = subprocess.Popen(
            [program, "keep", "--brokers=1", *options],
            cwd=directory,
            stdin=listener,
            stdout=log,
            stderr=log,
            env=environment,
        )
        listener.close()
        try:
            yield _started(keeper, Path(directory))
        finally:
            try:
                with socket.socket(socket.AF_UNIX) as asking:
                    asking.connect(f"{directory}/socket")
                    asking.sendall(b"down")
                    asking.shutdown(socket.SHUT_WR)
                    asking.recv(1)
            except OSError:
                keeper.kill()
            keeper.wait(30)
            shutil.rmtree(directory, ignore_errors=True)


def _started(keeper: subprocess.Popen[bytes], directory: Path) -> Services:
    variables = directory / "env"
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while not variables.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise pytest.fail.Exception(f"no services: {(directory / 'log').read_text()}")
        time.sleep(0.1)
    text = variables.read_text()
    found = dict(re.findall(r"^export (\w+)='(.*)'$", text, re.MULTILINE))
    started = Services(
        found["KAFKA_BOOTSTRAP_SERVERS"], found["KAFKA_SCHEMA_REGISTRY_URL"], found, text
    )
    plaintext = "KAFKA_SSL_CA_LOCATION" not in found
    _make_topics(started.bootstrap_servers if plaintext else started.comment("without TLS"))
    return started


def _make_topics(bootstrap_servers: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    wanted = [NewTopic(name, partitions, 1) for name, partitions in TOPICS.items()]
    for future in admin.create_topics(wanted).values():
        future.result(30)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in an interpreter of its own, to test the start and the end of a process."""

    def run(
        script: str, *arguments: str, timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / f"script_{uuid.uuid4().hex}.py"
        path.write_text(textwrap.dedent(script))
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", str(path), *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Waits until `condition` returns a true value, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def read(services: Services, topic: str, key: str) -> list[Any]:
    """The events with a key, read by our consumer."""
    from carbon_events import EventConsumer

    options = services.settings(standalone=True, detect_end=True)
    with EventConsumer(topic, **options) as consumer:
        return [record.event for record in consumer if record.key == key.encode()]


def raw(services: Services, topic: str, key: str) -> list[bytes]:
    """The values with a key, read by confluent-kafka."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": services.bootstrap_servers,
            "group.id": services.group(),
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    values, ends = [], 0
    while ends < len(partitions):
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ends += 1
        elif message.key() == key.encode():
            values.append(message.value())
    consumer.close()
    return values


@pytest.fixture
def count_records(services: Services) -> Callable[[str, str], int]:
    """The number of records with a key in a topic."""
    from carbon_events import EventConsumer

    def count(topic: str, key: str) -> int:
        consumer = EventConsumer(
            topic, **services.settings(standalone=True, detect_end=True)
        )
        with consumer:
            return sum(record.key == key.encode() for record in consumer)

    return count
