"""The lifecycle of the drop-in: shared engines, forks, close, exit, no broker."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Services

FORKS = """
import os, random, sys, threading
from event_producer import EventProducer, get_event_producer

key, rounds = sys.argv[1], int(sys.argv[2])
shared = get_event_producer("stress")

def send(producer):
    producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)

def pause(*choices):
    threading.Event().wait(random.choice(choices))

def child(number, out):
    random.seed(number)
    ending = threading.Event()
    def close_again_and_again():
        while not ending.is_set():
            shared.close()
            pause(0, 0.001, 0.002)
    closer = threading.Thread(target=close_again_and_again) if number % 2 else None
    if closer:
        closer.start()
    for _ in range(8):
        producer = shared if random.random() < 0.7 else EventProducer(source_service="stress")
        send(producer)
        what = random.random()
        if what < 0.4:
            producer.close()
        elif what < 0.6:
            producer.flush(random.choice([0, 0.001, 0.01]))
        elif what < 0.7:
            del producer
        pause(0, 0, 0.0005, 0.003)
    ending.set()
    if closer:
        closer.join()
    os.write(out, b"8\\n")
    sys.exit()

random.seed(rounds)
sent, children = 0, 0
read, write = os.pipe()
for number in range(rounds):
    send(shared)
    sent += 1
    # At the fork, the parent's record is in flight.
    pause(0, 0, 0.001, 0.004, 0.02)
    if random.random() < 0.3:
        shared.close()
    if os.fork() == 0:
        child(number, write)
    children += 1
    if children > 3:
        os.wait()
        children -= 1
for _ in range(children):
    os.wait()
os.close(write)
sent += sum(map(int, os.fdopen(read).read().split()))
shared.close()
print(sent)
"""


def test_nothing_is_lost_while_processes_fork_send_and_close(
    run_python: Any, services: Services, count_records: Any
) -> None:
    key = f"forks-{uuid.uuid4()}"
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    }
    done = run_python(FORKS, key, "150", timeout=240, **environment)
    assert done.returncode == 0, done.stderr
    assert "carbon_events:" not in done.stderr, "a process ended with records in flight"
    assert int(done.stdout) == 150 * 9
    assert count_records("data-quality", key) == 150 * 9


@pytest.fixture(params=["refused", "silent"])
def no_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address without a listener, and one whose listener never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


WITHOUT_A_BROKER = """
import sys, time
from event_producer import EventProducer
producer = EventProducer(sys.argv[1], security_protocol="PLAINTEXT")
producer.produce_data_quality_event("k", "t", "n", "PASS", 0.5, 0, 1)
began = time.monotonic()
if sys.argv[2] == "close":
    producer.close()
elif sys.argv[2] == "del":
    del producer
print(time.monotonic() - began)
"""


@pytest.mark.parametrize(("how", "returns_within"), [("close", 10.1), ("del", 0.1)])
def test_closing_and_exit_take_ten_seconds_together_without_a_broker(
    run_python: Any, no_broker: str, how: str, returns_within: float
) -> None:
    began = time.monotonic()
    done = run_python(WITHOUT_A_BROKER, no_broker, how, timeout=60)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    # The documented bounds, plus the start of an interpreter on a loaded machine.
    assert float(done.stdout) < returns_within + 1
    assert took < 15
    assert "1 record was given up" in done.stderr


def test_a_producer_for_every_event_uses_one_engine(run_python: Any, services: Services) -> None:
    done = run_python(
        """
        import os, sys
        from event_producer import EventProducer
        def engines():
            tasks = os.listdir("/proc/self/task")
            names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks]
            return names.count("carbon-delivery")
        for number in range(200):
            producer = EventProducer(sys.argv[1], source_service="job")
            producer.produce_data_quality_event("one", "t", "n", "PASS", 0.5, 0, 1)
            if number % 2:
                producer.close()
            else:
                producer.flush()
            assert engines() == 1
        other = EventProducer(sys.argv[1], source_service="another")
        other.produce_data_quality_event("one", "t", "n", "PASS", 0.5, 0, 1)
        other.flush()
        assert engines() == 2
        """,
        services.bootstrap_servers,
        KAFKA_SECURITY_PROTOCOL="PLAINTEXT",
    )
    assert done.returncode == 0, done.stderr
