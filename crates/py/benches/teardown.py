"""The time of a request that sends an event and closes its producer, as the drop-in's users write it.

    python teardown.py [--requests 1000] [--rounds 3]

KAFKA_BOOTSTRAP_SERVERS and the KAFKA_SSL_* variables say where. Two Flask applications answer in turns, each in
a process of its own: one on `event_producer`, one on confluent-kafka as the module used it before. A third
figure is that of a producer that is created and closed for every event.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from peers import OldShape, call


def milliseconds(work: Callable[[], Any], count: int) -> dict[str, float]:
    for _ in range(50):
        work()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return {"p50": times[count // 2], "p99": times[count * 99 // 100]}


def request(send: Callable[[], Any], close: Callable[[], Any]) -> Callable[[], Any]:
    from flask import Flask

    app = Flask("teardown")

    @app.get("/")
    def answer() -> dict[str, str]:
        send()
        return {"status": "success"}

    @app.teardown_appcontext
    def teardown(_: BaseException | None) -> None:
        close()

    client = app.test_client()
    return lambda: client.get("/")


def drop_in() -> Callable[[], Any]:
    from event_producer import get_event_producer

    producer = get_event_producer("api")
    return request(lambda: producer.produce_api_call_event(**call(1)), producer.close)


def old_shape() -> Callable[[], Any]:
    old = OldShape()
    return request(lambda: old.produce(**call(1)), lambda: old.producer.flush(10))


def a_producer_each() -> Callable[[], Any]:
    from event_producer import get_event_producer

    def once() -> None:
        producer = get_event_producer("api")
        producer.produce_api_call_event(**call(1))
        producer.close()

    return once


CONTENDERS = {
    "drop-in, closed by every request": drop_in,
    "confluent-kafka, flushed by every request": old_shape,
    "drop-in, made and closed for every event": a_producer_each,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(milliseconds(CONTENDERS[given.one](), given.requests)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(given.rounds):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--requests", str(given.requests), "--one", name]
            found[name].append(json.loads(subprocess.check_output(command, text=True, timeout=600)))
    for name, rounds in found.items():
        median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        print(f"{name:45} p50 {median['p50']:6.2f} ms   p99 {median['p99']:6.2f} ms")


if __name__ == "__main__":
    main()
