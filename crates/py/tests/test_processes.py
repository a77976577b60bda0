"""Forks, exits, signals, and many producers in one process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from conftest import Services

HEAD = """
import os, sys, time
from carbon_events import *
def quality(key):
    return DataQualityEvent(dataset_name=key, check_type="c", check_name="n", result="PASS",
                            score=0.5, failed_records=0, total_records=1)
def producer(**options):
    return EventProducer(bootstrap_servers=sys.argv[1], schema_registry_url=sys.argv[2],
                         security_protocol="PLAINTEXT", **options)
key = sys.argv[3]
"""


@pytest.fixture
def run(run_python: Any, services: Services) -> Any:
    """Runs a script. Returns its output and its key."""

    def run(script: str, *arguments: str, timeout: float = 60, code: int = 0) -> tuple[str, str]:
        import textwrap

        key = f"process-{uuid.uuid4()}"
        done = run_python(
            HEAD + textwrap.dedent(script),
            services.bootstrap_servers,
            services.schema_registry_url,
            key,
            *arguments,
            timeout=timeout,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, key

    return run


def test_events_in_flight_at_the_end_arrive(run: Any, count_records: Any) -> None:
    _, key = run("p = producer()\nfor _ in range(5000): p.send(quality(key))")
    assert count_records("data-quality", key) == 5000


def test_events_in_flight_at_an_exception_arrive(run: Any, count_records: Any) -> None:
    _, key = run("p = producer()\nfor _ in range(500): p.send(quality(key))\nraise SystemExit(3)", code=3)
    assert count_records("data-quality", key) == 500


def test_what_cannot_be_delivered_at_the_end_is_said(run_python: Any) -> None:
    done = run_python(
        HEAD.replace("sys.argv[1]", "'127.0.0.1:1'").replace("schema_registry_url=sys.argv[2],", "")
        + "p = producer(close_timeout_ms=300)\nfor _ in range(7): p.send(quality('k'))",
        "a",
        "b",
        "c",
    )
    assert done.returncode == 0, done.stderr
    assert "7 records were given up" in done.stderr


def test_a_producer_made_before_a_fork_works_in_each_child(run: Any, count_records: Any) -> None:
    _, key = run(
        """
        p = producer()
        for _ in range(100): p.send(quality(key))
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                for _ in range(100): p.send(quality(key))
                p.flush(30)
                os._exit(0)
            children.append(child)
        for _ in range(100): p.send(quality(key))
        for child in children: assert os.waitpid(child, 0)[1] == 0
        p.close()
        assert p.stats()["delivered"] == 200, p.stats()
        """
    )
    assert count_records("data-quality", key) == 600


def test_children_of_a_producer_that_is_starting_deliver(run: Any, count_records: Any) -> None:
    """Forks while other threads connect: they call the registry and resolve names."""
    _, key = run(
        """
        for pause in [0, 0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.03, 0.05] * 3:
            p = producer(linger_ms=int(pause * 1000))
            p.send(quality(key))
            time.sleep(pause)
            children = []
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    p.send(quality(key)).result(30)
                    os._exit(0)
                children.append(child)
            for child in children: assert os.waitpid(child, 0)[1] == 0
            p.close()
        """,
        timeout=120,
    )
    assert count_records("data-quality", key) == 30 * 5


def test_a_busy_producer_survives_forks(run: Any, count_records: Any) -> None:
    """Forks while other threads send, with deliveries in flight and callbacks pending."""
    _, key = run(
        """
        import threading
        p = producer()
        def work():
            for _ in range(2000): p.send(quality(key), on_delivery=lambda d: None)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        children = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                d = p.send(quality(key))
                d.result(30)
                os._exit(0)
            children.append(child)
            time.sleep(0.01)
        for thread in threads: thread.join()
        for child in children: assert os.waitpid(child, 0)[1] == 0
        p.close()
        """
    )
    assert count_records("data-quality", key) == 8010


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_delivers(run: Any, count_records: Any, method: str) -> None:
    """A child of multiprocessing ends without atexit, and still delivers."""
    _, key = run(
        """
        import multiprocessing
        p = None
        def work(number):
            global p
            p = p or producer()
            for _ in range(50): p.send(quality(key))
        def main():
            global p
            context = multiprocessing.get_context(sys.argv[4])
            p = producer()
            p.send(quality(key)).result(30)
            children = [context.Process(target=work, args=(n,)) for n in range(3)]
            for child in children: child.start()
            for child in children:
                child.join(30)
                assert child.exitcode == 0, child.exitcode
            p.close()
        if __name__ == "__main__":
            main()
        """,
        method,
    )
    assert count_records("data-quality", key) == 151


def test_ctrl_c_ends_a_wait(services: Services, tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        HEAD.replace("sys.argv[1]", "'127.0.0.1:1'")
        + """
import signal
# A background job of a shell starts with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
p = producer(close_timeout_ms=100)
d = p.send(quality(key))
print("waiting", flush=True)
try:
    if sys.argv[4] == "result": d.result()
    elif sys.argv[4] == "flush": p.flush()
    else: next(EventConsumer("data-quality", group_id="g", bootstrap_servers="127.0.0.1:1",
                             security_protocol="PLAINTEXT", unreachable_after_ms=60000))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    )
    for what in ("result", "flush", "next"):
        process = subprocess.Popen(
            [sys.executable, str(script), "x", services.schema_registry_url, "k", what],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert output == "interrupted\n", what


def test_a_thousand_producers_leave_nothing(run: Any) -> None:
    run(
        """
        def threads(): return len(os.listdir("/proc/self/task"))
        def files(): return len(os.listdir("/proc/self/fd"))
        def memory(): return int(open("/proc/self/statm").read().split()[1]) * 4096
        def once(send):
            with producer() as p:
                if send: p.send(quality(key)).result(30)
        for _ in range(20): once(True)
        before = threads(), files(), memory()
        for number in range(1000): once(number % 10 == 0)
        # The last connection may take a moment to close.
        deadline = time.monotonic() + 30
        while True:
            after = threads(), files(), memory()
            if (after[0] <= before[0] and after[1] <= before[1]) or time.monotonic() > deadline: break
            time.sleep(0.01)
        assert after[0] <= before[0] and after[1] <= before[1], (before, after)
        assert after[2] - before[2] < 16 << 20, (before, after)
        """,
        timeout=180,
    )


def test_a_million_sends_leave_no_growth(run: Any) -> None:
    run(
        """
        def memory(): return int(open("/proc/self/statm").read().split()[1]) * 4096
        def round():
            for _ in range(100): p.send_many(events)
            p.flush(60)
        events = [quality(key) for _ in range(1000)]
        with producer(queue_max_records=50_000) as p:
            for _ in range(3): round()
            before = memory()
            for _ in range(7): round()
            assert memory() - before < 16 << 20, (before, memory())
        """,
        timeout=180,
    )


def test_importing_is_quick(run_python: Any) -> None:
    done = run_python(
        """
        import subprocess, sys, time
        def took(code):
            times = []
            for _ in range(10):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True)
                times.append(time.perf_counter() - began)
            return min(times)
        print(took("import carbon_events") - took("pass"))
        """
    )
    # A generous limit; the documents have the measured value.
    assert float(done.stdout) < 0.3, done.stdout


def test_gunicorns_workers_deliver(services: Services, count_records: Any, tmp_path: Path) -> None:
    """A producer created before the workers are forked, and closed after every request."""
    import os
    import socket as sockets
    import urllib.request

    key = f"gunicorn-{uuid.uuid4()}"
    (tmp_path / "app.py").write_text(
        f"""
import flask
from event_producer import EventProducer
producer = EventProducer({services.bootstrap_servers!r}, {services.schema_registry_url!r},
                         source_service="app", security_protocol="PLAINTEXT")
producer.produce_data_quality_event({key!r}, "t", "n", "PASS", 0.5, 0, 1)
app = flask.Flask(__name__)
@app.get("/")
def index():
    producer.produce_data_quality_event({key!r}, "t", "n", "PASS", 0.5, 0, 1)
    return "ok"
@app.teardown_request
def close(_):
    producer.close()
"""
    )
    with sockets.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers=3"]
    server = subprocess.Popen(
        [*command, f"--bind=127.0.0.1:{port}", "app:app"], cwd=tmp_path, env=os.environ
    )
    try:
        from conftest import wait_until

        def get() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    return bool(answer.read() == b"ok")
            except OSError:
                return False

        wait_until(get)
        assert all(get() for _ in range(30))
    finally:
        server.terminate()
        server.wait(30)
    assert count_records("data-quality", key) == 32


def test_fastapi_produces_per_request(services: Services, count_records: Any) -> None:
    import asyncio

    import fastapi
    import httpx
    from carbon_events import AsyncEventProducer
    from test_events import quality

    key = f"fastapi-{uuid.uuid4()}"

    async def work() -> None:
        app = fastapi.FastAPI()
        async with AsyncEventProducer(**services.settings()) as producer:

            @app.get("/")
            async def index() -> dict[str, int]:
                report = await producer.send(quality(dataset_name=key))
                return {"offset": report.offset}

            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                answers = await asyncio.gather(*(client.get("/") for _ in range(50)))
            assert all(answer.json()["offset"] >= 0 for answer in answers)

    asyncio.run(work())
    assert count_records("data-quality", key) == 50


def test_a_subinterpreter_is_refused_clearly(run_python: Any) -> None:
    done = run_python(
        """
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        one = interpreters.create()
        try:
            failed = interpreters.run_string(one, "import carbon_events")
        except Exception as error:
            failed = error
        print(failed)
        """
    )
    assert "interpreter" in done.stdout, done.stdout + done.stderr
