"""gevent and eventlet: everything works in a patched program, and no call blocks its greenlets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Services, wait_until

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent without threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "gevent after the import": """
import carbon_events, event_producer
from gevent import monkey; monkey.patch_all()
""",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "eventlet after the import": """
import carbon_events, event_producer
import eventlet; eventlet.monkey_patch()
""",
}
HEAD = """
import logging, os, sys, threading, time
from carbon_events import *
from event_producer import EventProducer as DropIn
servers, registry, key = sys.argv[1:4]
def quality(): return DataQualityEvent(dataset_name=key, check_type="c", check_name="n", result="PASS",
                                       score=0.5, failed_records=0, total_records=1)
def settings(**options): return dict(bootstrap_servers=servers, schema_registry_url=registry,
                                     security_protocol="PLAINTEXT", **options)
if "gevent" in sys.modules:
    import gevent, gevent.event
    spawn, Event = gevent.spawn, gevent.event.Event
else:
    import eventlet, eventlet.event
    spawn = eventlet.spawn
    class Event(eventlet.event.Event):
        set = eventlet.event.Event.send
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.001)
spawn(tick)
def ticks_during(call):
    before = ticks
    try:
        call()
    except EventError:
        pass
    return ticks - before
"""
all_patches = pytest.mark.parametrize("patch", PATCHES)


@pytest.fixture
def run(run_python: Any, services: Services) -> Any:
    """Runs a script in a patched program. Returns its output and its key."""

    def run(patch: str, script: str, servers: str | None = None) -> tuple[str, str]:
        import textwrap

        key = f"greenlets-{uuid.uuid4()}"
        done = run_python(
            PATCHES.get(patch, patch) + "\n" + HEAD + textwrap.dedent(script),
            servers or services.bootstrap_servers,
            services.schema_registry_url,
            key,
            PYTHONWARNINGS="ignore",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, key

    return run


@all_patches
def test_each_api_delivers_and_consumes_in_a_patched_program(
    run: Any, count_records: Any, patch: str
) -> None:
    output, key = run(
        patch,
        """
        called = Event()
        with EventProducer(**settings()) as producer:
            assert producer.send(quality()).result(10).offset >= 0
            producer.send(quality(), on_delivery=lambda delivery: called.set())
            called.wait()
            producer.flush(10)
        old = DropIn(servers, registry, "x", "PLAINTEXT")
        old.produce_data_quality_event(key, "c", "n", "PASS", 0.5, 0, 1)
        assert old.flush(10) == 0
        old.close()
        assert old.get_stats() == {"delivered": 1, "errors": 0}, old.get_stats()
        for options in {"standalone": True}, {"group_id": key}:
            with EventConsumer("data-quality", **settings(detect_end=True, **options)) as consumer:
                print(sum(record.key == key.encode() for record in consumer))
        """,
    )
    assert output.split() == ["3", "3"]
    assert count_records("data-quality", key) == 3


@all_patches
def test_other_greenlets_run_while_a_call_waits(run: Any, patch: str) -> None:
    output, _ = run(
        patch,
        """
        producer = EventProducer(**settings(queue_max_records=1, block_timeout_ms=300))
        delivery = producer.send(quality())
        old = DropIn(servers, registry, "x", "PLAINTEXT")
        old.produce_data_quality_event(key, "c", "n", "PASS", 0.5, 0, 1)
        consumer = EventConsumer("data-quality", **settings(group_id=key))
        for name, call in {
            "result": lambda: delivery.result(0.3),
            "exception": lambda: delivery.exception(0.3),
            "flush": lambda: producer.flush(0.3),
            "a full queue": lambda: producer.send(quality()),
            "flush of the drop-in": lambda: old.flush(0.3),
            "next_batch": lambda: consumer.next_batch(0.3),
            "next_record": lambda: consumer.next_record(0.3),
            "commit": lambda: consumer.commit(("data-quality", 0, 1), timeout=0.3),
            "close": lambda: producer.close(0.3),
        }.items():
            ran = ticks_during(call)
            # 300 on an idle machine; none if the call blocks.
            if ran < 10: print(name, ran)
        sys.stdout.flush()
        # Does not wait for the missing brokers.
        import posix; posix._exit(0)
        """,
        servers="127.0.0.1:1",
    )
    assert output == ""


@all_patches
def test_callbacks_run_in_the_main_thread_of_a_patched_program(run: Any, patch: str) -> None:
    """gevent's and eventlet's own primitives work only there."""
    run(
        patch,
        """
        seen, called = [], Event()
        def callback(delivery):
            seen.append(threading.get_native_id())
            called.set()
        with EventProducer(**settings()) as producer:
            producer.send(quality(), on_delivery=callback)
            called.wait()
        assert seen == [os.getpid()], (seen, os.getpid())
        """,
    )


@all_patches
def test_a_flush_of_the_drop_in_waits_for_its_callbacks(run: Any, patch: str) -> None:
    output, _ = run(
        patch,
        """
        from event_producer import Producer
        producer = Producer({"bootstrap.servers": servers, "security.protocol": "PLAINTEXT"})
        def callback(error, message):
            time.sleep(0.01)
            # A callback cannot wait for itself.
            print(error, len(producer), producer.flush(30))
        for _ in range(3): producer.produce("data-quality", b"{}", key, on_delivery=callback)
        print(producer.flush(30))
        """,
    )
    assert output.splitlines()[-1] == "0"
    assert [line.split()[0] for line in output.splitlines()[:3]] == ["None"] * 3


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_producer_from_before_the_patching_calls_back_in_the_main_thread(
    run: Any, services: Services, library: str
) -> None:
    run(
        f"""
import sys, carbon_events
early = carbon_events.EventProducer(bootstrap_servers=sys.argv[1], schema_registry_url=sys.argv[2],
                                    security_protocol="PLAINTEXT")
{PATCHES[library]}
""",
        """
        seen, called = [], Event()
        def callback(delivery):
            seen.append(threading.get_native_id())
            called.set()
        early.send(quality(), on_delivery=callback)
        called.wait()
        assert seen == [os.getpid()]
        assert early.send(quality()).result(10).offset >= 0
        early.close()
        """,
    )


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_drop_in_that_sent_before_the_patching_calls_back_after_it(
    run: Any, library: str
) -> None:
    output, _ = run(
        f"""
import sys, event_producer
early = event_producer.Producer({{"bootstrap.servers": sys.argv[1], "security.protocol": "PLAINTEXT"}})
early.produce("data-quality", b"{{}}", on_delivery=lambda error, message: None)
assert early.flush(30) == 0
{PATCHES[library]}
""",
        """
        early.produce("data-quality", b"{}", key, on_delivery=lambda error, message: print(error))
        print(early.flush(10))
        """,
    )
    assert output.splitlines() == ["None", "0"]


def test_a_drop_in_calls_back_after_all_greenlets_were_killed(run: Any) -> None:
    output, _ = run(
        "gevent",
        """
        import gc, greenlet
        from event_producer import Producer
        producer = Producer({"bootstrap.servers": servers, "security.protocol": "PLAINTEXT"})
        def send(): producer.produce("data-quality", b"{}", key, on_delivery=lambda *it: print("called"))
        send()
        print(producer.flush(10))
        gevent.killall([one for one in gc.get_objects() if isinstance(one, gevent.Greenlet)])
        send()
        print(producer.flush(10))
        """,
    )
    assert output.splitlines() == ["called", "0", "called", "0"]


@all_patches
def test_log_lines_do_not_contend_for_a_patched_lock(run: Any, patch: str) -> None:
    """A native thread that waits for a lock of greenlets deadlocks, or its owner does."""
    output, _ = run(
        patch,
        """
        own = 0
        class Slow(logging.Handler):
            def emit(self, record):
                global own
                if record.name == "app": own += 1
                else: print(record.name)
                time.sleep(0.001)
        logging.getLogger().addHandler(Slow())
        logging.getLogger("app").setLevel("DEBUG")
        def work():
            while True:
                logging.getLogger("app").debug("at work")
                time.sleep(0)
        for _ in range(5): spawn(work)
        producers = [EventProducer(**settings(close_timeout_ms=100, delivery_timeout_ms=1000)) for _ in range(3)]
        for producer in producers: producer.send(quality())
        for producer in producers:
            try: producer.flush(10)
            except EventError: pass
        before = own
        while own < before + 100: time.sleep(0.01)
        """,
        servers="127.0.0.1:1",
    )
    assert "carbon_events" in output


def test_a_call_in_a_native_thread_of_a_patched_program_blocks_that_thread_alone(run: Any) -> None:
    run(
        "gevent",
        """
        from gevent._hub_local import get_hub_if_exists
        producer = EventProducer(**settings())
        def work():
            report = producer.send(quality()).result(10)
            assert get_hub_if_exists() is None
            return report.offset
        assert gevent.get_hub().threadpool.apply(work) >= 0
        producer.close()
        """,
    )


def test_a_timeout_of_gevents_ends_a_wait(run: Any) -> None:
    run(
        "gevent",
        """
        producer = EventProducer(**settings(close_timeout_ms=100))
        delivery = producer.send(quality())
        for call in delivery.result, producer.flush:
            with gevent.Timeout(0.1, False):
                call(30)
                raise SystemExit("it was not interrupted")
        waiting = gevent.spawn(delivery.result)
        gevent.sleep(0.05)
        waiting.kill()
        assert isinstance(waiting.value, gevent.GreenletExit)
        """,
        servers="127.0.0.1:1",
    )


def test_a_patched_program_ends_while_nothing_is_awaited(run: Any) -> None:
    run(
        "gevent",
        """
        gevent.killall([one for one in __import__("gc").get_objects() if isinstance(one, gevent.Greenlet)])
        called = Event()
        producer = EventProducer(**settings())
        producer.send(quality(), on_delivery=lambda delivery: called.set())
        # Only the delivery ends this wait.
        called.wait()
        producer.close()
        assert gevent.wait(timeout=30)
        """,
    )


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_forked_child_of_a_patched_program_delivers_and_calls_back(
    run: Any, count_records: Any, library: str
) -> None:
    _, key = run(
        library,
        """
        producer = EventProducer(**settings())
        first = Event()
        producer.send(quality(), on_delivery=lambda delivery: first.set())
        first.wait()
        child = os.fork()
        called = Event()
        producer.send(quality(), on_delivery=lambda delivery: called.set())
        called.wait()
        if child == 0:
            for _ in range(10): producer.send(quality())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert count_records("data-quality", key) == 13


@all_patches
def test_events_in_flight_at_the_end_of_a_patched_program_arrive(
    run: Any, count_records: Any, patch: str
) -> None:
    output, key = run(
        patch,
        """
        producer = EventProducer(**settings())
        old = DropIn(servers, registry, "x", "PLAINTEXT")
        for _ in range(500):
            producer.send(quality())
            old.produce_data_quality_event(key, "c", "n", "PASS", 0.5, 0, 1)
        producer.send(quality(), on_delivery=lambda delivery: print("called"))
        """,
    )
    assert count_records("data-quality", key) == 1001
    assert output == "called\n"


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["", "preload"])
def test_gunicorns_gevent_workers_answer_and_deliver(
    services: Services, count_records: Any, tmp_path: Path, options: list[str]
) -> None:
    key = f"gunicorn-{uuid.uuid4()}"
    (tmp_path / "app.py").write_text(
        f"""
import flask
from carbon_events import DataQualityEvent, EventProducer as Typed
from event_producer import EventProducer
producer = EventProducer({services.bootstrap_servers!r}, {services.schema_registry_url!r},
                         source_service="app", security_protocol="PLAINTEXT")
typed = Typed(bootstrap_servers={services.bootstrap_servers!r}, security_protocol="PLAINTEXT",
              schema_registry_url={services.schema_registry_url!r})
app = flask.Flask(__name__)
@app.get("/drop-in")
def drop_in():
    producer.produce_data_quality_event({key!r}, "t", "n", "PASS", 0.5, 0, 1)
    return "ok"
@app.get("/typed")
def of_types():
    typed.send(DataQualityEvent(dataset_name={key!r}, check_type="c", check_name="n", result="PASS",
                                score=0.5, failed_records=0, total_records=1)).result(10)
    return "ok"
@app.get("/ready")
def ready():
    return "ok"
@app.teardown_request
def close(_):
    producer.close()
"""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--workers=2", *options]
    server = subprocess.Popen(
        [*command, f"--bind=127.0.0.1:{port}", "app:app"], cwd=tmp_path, env=os.environ
    )

    def get(page: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=20) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    try:
        wait_until(lambda: get("ready"))
        with ThreadPoolExecutor(10) as clients:
            assert all(clients.map(get, ["drop-in", "typed"] * 50))
    finally:
        server.terminate()
        server.wait(30)
    assert count_records("data-quality", key) == 100
