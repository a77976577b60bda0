"""What a consumer acknowledges, and for which reader."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest
from carbon_events import AsyncEventConsumer, EventConsumer, EventTimeoutError, ServiceHealthEvent
from carbon_events.testing import Platform

TOPIC = "system-health"
#: The in-process broker answers a rebalance when the session timeout has passed.
QUICK: dict[str, Any] = {
    "session_timeout_ms": 500,
    # Its heartbeats wait behind a waiting fetch.
    "fetch_max_wait_ms": 20,
    "properties": {"heartbeat.interval.ms": "100"},
}


def sent(platform: Platform, count: int) -> list[int]:
    """Sends events with one key. Returns their latencies."""
    with platform.producer(service_name="tests") as producer:
        for latency_ms in range(count):
            event = ServiceHealthEvent(
                service_name="catalog",
                namespace="shop",
                health_status="HEALTHY",
                latency_ms=latency_ms,
                error_rate=0.0,
            )
            producer.send(event)
    return list(range(count))


def member(platform: Platform, **options: Any) -> EventConsumer[Any]:
    return EventConsumer(TOPIC, **platform.settings(group_id="test", **QUICK, **options))


def async_member(platform: Platform, **options: Any) -> AsyncEventConsumer[Any]:
    return AsyncEventConsumer(TOPIC, **platform.settings(group_id="test", **QUICK, **options))


def unread(platform: Platform) -> list[int]:
    """What a new member of the group reads."""
    with member(platform, detect_end=True, auto_commit=False) as consumer:
        return [record.event.latency_ms for record in consumer]


def test_a_failed_handler_leaves_its_batch_to_the_next_reader(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    with pytest.raises(RuntimeError), member(carbon_platform) as consumer:
        for _ in consumer.next_batch(30):
            raise RuntimeError("the database is down")
    assert unread(carbon_platform) == events


def test_a_failed_handler_leaves_its_record_to_the_next_reader(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    with pytest.raises(RuntimeError), member(carbon_platform) as consumer:
        for record in consumer:
            if record.event.latency_ms == 4:
                raise RuntimeError("the database is down")
    assert unread(carbon_platform) == events[4:]


def test_closing_acknowledges_nothing(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    consumer = member(carbon_platform)
    assert consumer.next_batch(30)
    consumer.close()
    assert unread(carbon_platform) == events


def test_a_loop_that_is_left_without_an_error_acknowledges(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    with member(carbon_platform) as consumer:
        for record in consumer:
            if record.event.latency_ms == 4:
                break
    assert unread(carbon_platform) == events[5:]
    consumer = member(carbon_platform)
    assert consumer.next_record(30).event.latency_ms == 5  # type: ignore[union-attr]
    consumer.acknowledge()
    assert consumer.next_record(30).event.latency_ms == 6  # type: ignore[union-attr]
    consumer.close()
    assert unread(carbon_platform) == events[6:]


def test_a_loop_goes_on_where_the_one_before_was_left(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    seen: list[int] = []
    with member(carbon_platform, detect_end=True) as consumer:
        for record in consumer:
            seen.append(record.event.latency_ms)
            break
        seen += [record.event.latency_ms for record in consumer.next_batch(30)]
        seen += [record.event.latency_ms for record in consumer]
    assert seen == events
    assert unread(carbon_platform) == []


def test_a_read_of_another_thread_acknowledges_nothing(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    with member(carbon_platform, max_batch_records=5) as consumer:
        failed = threading.Thread(target=consumer.next_batch, args=(30,))
        failed.start()
        failed.join()
        while consumer.next_batch(0.3):
            pass
    assert unread(carbon_platform) == events


def test_threads_share_the_records_of_a_batch(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)
    with member(carbon_platform) as consumer:
        seen = [consumer.next_record(30)]

        def read() -> None:
            while record := consumer.next_record(0.3):
                seen.append(record)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert [record.event.latency_ms for record in seen] == events  # type: ignore[union-attr]
    assert unread(carbon_platform) == []


class Cancelled(AsyncEventConsumer):
    """A consumer whose first read is cancelled after the batch arrived and before the task continues."""

    reads = 0

    def fetch_async(self, reader: int) -> Any:
        future = super().fetch_async(reader)  # type: ignore[misc]
        self.reads += 1
        if self.reads == 1 and (task := asyncio.current_task()) is not None:
            future.add_done_callback(lambda _: task.cancel())
        return future


def test_a_read_that_is_cancelled_leaves_its_batch_to_the_next_read(
    carbon_platform: Platform,
) -> None:
    events = sent(carbon_platform, 10)

    async def work() -> None:
        consumer = Cancelled(TOPIC, **carbon_platform.settings(group_id="test", **QUICK))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(consumer.next_batch())
        seen: list[int] = []
        while len(seen) < len(events):
            seen += [record.event.latency_ms for record in await consumer.next_batch()]
        assert seen == events
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(consumer.next_batch(), 0.3)
        await consumer.close()

    asyncio.run(work())
    assert unread(carbon_platform) == []


def test_a_read_of_another_task_acknowledges_nothing(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)

    async def work() -> None:
        async with async_member(carbon_platform, max_batch_records=5) as consumer:

            async def read() -> None:
                assert await consumer.next_batch()

            for _ in range(2):
                await asyncio.create_task(read())

    asyncio.run(work())
    assert unread(carbon_platform) == events


def test_a_task_acknowledges_by_reading_on(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)

    async def work() -> int:
        # The reader is the same with every kind of timeout.
        consumer = async_member(carbon_platform, max_batch_records=5)
        read = 0
        while read < len(events):
            last = len(await asyncio.wait_for(consumer.next_batch(), 30))
            read += last
        await consumer.close()
        return last

    last = asyncio.run(work())
    assert last < len(events)
    assert unread(carbon_platform) == events[-last:]


def test_a_task_that_fails_leaves_its_record_to_the_next_reader(carbon_platform: Platform) -> None:
    events = sent(carbon_platform, 10)

    async def work() -> None:
        async with async_member(carbon_platform) as consumer:
            async for record in consumer:
                if record.event.latency_ms == 4:
                    raise RuntimeError("the database is down")

    with pytest.raises(RuntimeError):
        asyncio.run(work())
    assert unread(carbon_platform) == events[4:]


def test_an_async_loop_that_is_left_without_an_error_acknowledges(
    carbon_platform: Platform,
) -> None:
    events = sent(carbon_platform, 10)

    async def work() -> None:
        async with async_member(carbon_platform) as consumer:
            async for record in consumer:
                if record.event.latency_ms == 4:
                    break

    asyncio.run(work())
    assert unread(carbon_platform) == events[5:]


@pytest.mark.parametrize("timeout", [0, 0.5])
def test_closing_keeps_its_time_while_no_broker_answers(
    carbon_platform: Platform, timeout: float
) -> None:
    sent(carbon_platform, 10)
    consumer = member(carbon_platform)
    record = consumer.next_record(30)
    carbon_platform.broker_delay(20)
    began = time.monotonic()
    with contextlib.suppress(EventTimeoutError):
        consumer.close(timeout)
    del record, consumer
    assert time.monotonic() - began < timeout + 2


def test_a_tombstone_has_no_event_and_no_error(carbon_platform: Platform) -> None:
    with carbon_platform.producer() as producer:
        producer.send_raw(TOPIC, None, key="catalog").result(30)
    with member(carbon_platform, detect_end=True) as consumer:
        [record] = consumer
        assert record.tombstone and record.key == b"catalog"
        assert record.event is None and record.error is None and record.value is None
        counted = consumer.metrics().splitlines()
    assert 'tombstone_records_total{topic="system-health"} 1' in "\n".join(counted)
    assert 'undecodable_records_total{topic="system-health"} 0' in "\n".join(counted)
    sent(carbon_platform, 1)
    [_, event] = carbon_platform.records(TOPIC)
    assert not event.tombstone
