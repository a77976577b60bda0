"""Processes that end without atexit deliver their accepted records first, or report them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from conftest import Services, wait_until

HEAD = """
import os, sys, time
from carbon_events import *
import event_producer
servers, registry, key = sys.argv[1:4]
def quality(): return DataQualityEvent(dataset_name=key, check_type="c", check_name="n", result="PASS",
                                       score=0.5, failed_records=0, total_records=1)
def typed(**options): return EventProducer(bootstrap_servers=servers, schema_registry_url=registry,
                                           security_protocol="PLAINTEXT", **options)
def drop_in(): return event_producer.EventProducer(servers, registry, "x", "PLAINTEXT")
def send(producer):
    if isinstance(producer, EventProducer): producer.send(quality())
    else: producer.produce_data_quality_event(key, "c", "n", "PASS", 0.5, 0, 1)
"""
UNREACHABLE = "127.0.0.1:1"


@pytest.fixture
def run(run_python: Any, services: Services) -> Any:
    """Runs a script. Returns its output, its key and its standard error."""

    def run(
        script: str, *arguments: str, servers: str | None = None, code: int = 0, **environment: str
    ) -> tuple[str, str, str]:
        import textwrap

        key = f"children-{uuid.uuid4()}"
        done = run_python(
            HEAD + textwrap.dedent(script),
            servers or services.bootstrap_servers,
            services.schema_registry_url,
            key,
            *arguments,
            **environment,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, key, done.stderr

    return run


@pytest.mark.parametrize("made", ["before the fork", "after the fork"])
@pytest.mark.parametrize("which", ["typed", "drop_in"])
def test_a_child_that_ends_with_os_exit_delivers(
    run: Any, count_records: Any, which: str, made: str
) -> None:
    _, key, _ = run(
        """
        make = {"typed": typed, "drop_in": drop_in}[sys.argv[4]]
        producer = None
        if sys.argv[5] == "before the fork":
            producer = make()
            send(producer)
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                producer = producer or make()
                for _ in range(50): send(producer)
                os._exit(7)
            children.append(child)
        for child in children: assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        """,
        which,
        made,
    )
    assert count_records("data-quality", key) == (201 if made == "before the fork" else 200)


def test_a_child_that_imports_the_library_after_its_fork_delivers(
    run_python: Any, services: Services, count_records: Any
) -> None:
    key = f"children-{uuid.uuid4()}"
    fork = "import os\nif os.fork() == 0:\n"
    body = HEAD + "p = typed()\nfor _ in range(50): send(p)\nos._exit(0)"
    script = fork + "".join(f"    {line}\n" for line in body.splitlines())
    done = run_python(
        script + "assert os.wait()[1] == 0",
        services.bootstrap_servers,
        services.schema_registry_url,
        key,
    )
    assert done.returncode == 0, done.stderr
    assert count_records("data-quality", key) == 50


def test_os_exit_delivers_in_the_first_process_too(run: Any, count_records: Any) -> None:
    """The parent of a process that becomes a daemon ends this way."""
    _, key, _ = run("p = typed()\nfor _ in range(50): send(p)\nos._exit(3)", code=3)
    assert count_records("data-quality", key) == 50


def test_undelivered_records_of_a_child_are_reported(run: Any) -> None:
    _, _, errors = run(
        """
        producer = typed(close_timeout_ms=300)
        child = os.fork()
        if child == 0:
            for _ in range(7): send(producer)
            os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        """,
        servers=UNREACHABLE,
    )
    assert "7 records were given up" in errors


def test_os_exit_is_bounded_whatever_the_close_timeout(run: Any) -> None:
    began = time.monotonic()
    _, _, errors = run(
        "p = typed(close_timeout_ms=600_000)\nsend(p)\nos._exit(1)", servers=UNREACHABLE, code=1
    )
    assert time.monotonic() - began < 20
    assert "1 record was given up" in errors


def test_all_producers_together_end_within_the_longest_timeout(run: Any) -> None:
    began = time.monotonic()
    _, _, errors = run(
        "ps = [typed(close_timeout_ms=2000) for _ in range(8)]\nfor p in ps: send(p)",
        servers=UNREACHABLE,
    )
    assert time.monotonic() - began < 12
    assert errors.count("1 record was given up") == 8


def test_deleting_a_producer_does_not_block_and_its_events_arrive(
    run: Any, count_records: Any
) -> None:
    _, key, _ = run(
        """
        for _ in range(50):
            producer = typed()
            for _ in range(10): send(producer)
            del producer
        """
    )
    assert count_records("data-quality", key) == 500
    output, _, errors = run(
        """
        producer = typed(close_timeout_ms=2000)
        send(producer)
        began = time.monotonic()
        del producer
        print(time.monotonic() - began)
        """,
        servers=UNREACHABLE,
    )
    assert float(output) < 1
    assert "given up" in errors


def test_a_second_os_exit_in_the_same_thread_ends_at_once(run: Any, tmp_path: Path) -> None:
    """As a signal handler may do while the first one waits for the brokers."""
    script = tmp_path / "twice.py"
    script.write_text(
        HEAD
        + """
import signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
producer = typed(close_timeout_ms=600_000)
send(producer)
print("exits", flush=True)
os._exit(0)
"""
    )
    with subprocess.Popen(
        [sys.executable, str(script), UNREACHABLE, "http://127.0.0.1:1", "k"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "exits\n"

        def has_ended() -> bool:
            # The first may come before `os._exit` is called, and be the first call itself.
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        wait_until(has_ended, 5)
        assert process.wait(5) == 9


def test_an_os_exit_of_another_thread_does_not_cut_a_delivery_short(
    run: Any, count_records: Any
) -> None:
    _, key, _ = run(
        """
        import threading
        producer = typed()
        for _ in range(5000): send(producer)
        threads = [threading.Thread(target=os._exit, args=(4,)) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
        code=4,
    )
    assert count_records("data-quality", key) == 5000


def test_a_callback_in_a_child_is_called_for_a_producer_of_its_parent(run: Any) -> None:
    output, _, _ = run(
        """
        import threading
        producer = typed()
        producer.send(quality()).result(10)
        child = os.fork()
        if child == 0:
            called = threading.Event()
            producer.send(quality(), on_delivery=lambda delivery: called.set())
            assert called.wait(20)
            producer.send(quality(), on_delivery=lambda delivery: print("at the end", flush=True))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert output == "at the end\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_pool_delivers(run: Any, count_records: Any, method: str) -> None:
    _, key, _ = run(
        """
        import concurrent.futures, multiprocessing
        producer = None
        def work(number):
            global producer
            producer = producer or typed()
            for _ in range(10): send(producer)
        def main():
            context = multiprocessing.get_context(sys.argv[4])
            with concurrent.futures.ProcessPoolExecutor(3, context) as pool:
                list(pool.map(work, range(12)))
        if __name__ == "__main__":
            main()
        """,
        method,
    )
    assert count_records("data-quality", key) == 120


@pytest.mark.parametrize("made", ["before the fork", "after the fork"])
@pytest.mark.parametrize("which", ["typed", "drop_in"])
def test_celerys_children_deliver_when_they_are_replaced(
    services: Services, count_records: Any, tmp_path: Path, which: str, made: str
) -> None:
    """They end through billiard, with `os._exit`."""
    key = f"celery-{uuid.uuid4()}"
    for name in "queue", "processed", "done":
        (tmp_path / name).mkdir()
    (tmp_path / "work.py").write_text(
        HEAD.replace("sys.argv[1:4]", repr((services.bootstrap_servers, services.schema_registry_url, key)))
        + f"""
from celery import Celery
app = Celery("work", broker="filesystem://", broker_transport_options={{
    "data_folder_in": "{tmp_path}/queue", "data_folder_out": "{tmp_path}/queue",
    "processed_folder": "{tmp_path}/processed"}})
producer = {which}() if {made == "before the fork"} else None
if producer: send(producer)
@app.task
def work(number):
    global producer
    producer = producer or {which}()
    send(producer)
    open(f"{tmp_path}/done/{{number}}", "w").close()
"""
    )
    command = [sys.executable, "-m", "celery", "-A", "work", "worker", "-P", "prefork", "-c", "3"]
    with open(tmp_path / "log", "wb") as log:
        worker = subprocess.Popen(
            [*command, "--max-tasks-per-child=10"], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        send = "import work\nfor number in range(60): work.work.delay(number)\nimport os"
        early = 2 if made == "before the fork" else 0
        subprocess.run([sys.executable, "-c", send], cwd=tmp_path, timeout=60, check=True)
        wait_until(lambda: len(os.listdir(tmp_path / "done")) == 60, 60)
        worker.terminate()
        assert worker.wait(60) == 0, (tmp_path / "log").read_text()
    finally:
        worker.kill()
    assert count_records("data-quality", key) == 60 + early


def test_gunicorns_replaced_workers_deliver(
    services: Services, count_records: Any, tmp_path: Path
) -> None:
    import socket
    import urllib.request

    key = f"gunicorn-{uuid.uuid4()}"
    (tmp_path / "app.py").write_text(
        HEAD.replace("sys.argv[1:4]", repr((services.bootstrap_servers, services.schema_registry_url, key)))
        + """
producer = typed()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/send": send(producer)
    start_response("200 OK", [])
    return [b"ok"]
"""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--workers=2", "--max-requests=5"]
    server = subprocess.Popen([*command, f"--bind=127.0.0.1:{port}", "app:app"], cwd=tmp_path)

    def get(page: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=20) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    try:
        wait_until(lambda: get("/"))
        # A worker that is being replaced may refuse a connection before it has read a request.
        sent = sum(get("/send") for _ in range(50))
    finally:
        server.terminate()
        server.wait(30)
    assert sent > 30
    assert count_records("data-quality", key) == sent
