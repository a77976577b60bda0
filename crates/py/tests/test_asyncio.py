"""asyncio: awaiting deliveries, several loops, cancellation, uvloop, consuming."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import posix
import threading
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from carbon_events import (
    AsyncEventConsumer,
    AsyncEventProducer,
    AuditAPICallEvent,
    ClosedError,
    EventError,
    EventProducer,
    QueueFullError,
)
from carbon_events.testing import Platform
from conftest import Services
from test_events import CALL, quality
from test_event_producer import read

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


def run_asyncio(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def run_uvloop(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(work)


@pytest.fixture(params=[run_asyncio, run_uvloop])
def run(request: pytest.FixtureRequest) -> Runner:
    return request.param  # type: ignore[no-any-return]


def test_a_send_is_awaited(run: Runner, services: Services) -> None:
    async def work() -> None:
        async with AsyncEventProducer(**services.settings()) as producer:
            report = await producer.send(quality())
            assert report.topic == "data-quality" and report.offset >= 0
            # A handle can be awaited several times, with the same result.
            delivery = producer.try_send(quality())
            assert await delivery == await delivery == delivery.result(0)

    run(work())


def test_ten_thousand_sends_at_once(run: Runner, services: Services) -> None:
    async def work() -> None:
        async with AsyncEventProducer(**services.settings()) as producer:
            reports = await asyncio.gather(*(producer.send(quality()) for _ in range(10_000)))
            assert len({(report.partition, report.offset) for report in reports}) == 10_000

    run(work())


def test_a_failure_is_raised_where_it_is_awaited(run: Runner) -> None:
    async def work() -> None:
        producer = AsyncEventProducer(
            bootstrap_servers="127.0.0.1:1", security_protocol="PLAINTEXT", delivery_timeout_ms=300
        )
        with pytest.raises(EventError):
            await producer.send(quality())
        await producer.close()
        with pytest.raises(ClosedError):
            producer.send(quality())

    run(work())


def test_a_full_queue_does_not_block_the_loop(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=5) as producer:
                await producer.send(quality())
                platform.broker_down()
                sends = [asyncio.ensure_future(producer.send(quality())) for _ in range(20)]
                beats = 0
                for _ in range(20):
                    await asyncio.sleep(0.01)
                    beats += 1
                assert beats == 20 and not any(send.done() for send in sends)
                platform.broker_up()
                assert len(await asyncio.wait_for(asyncio.gather(*sends), 30)) == 20

    run(work())


def test_sends_stay_in_order_while_the_queue_is_full(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=3) as producer:
                await producer.send(quality())
                platform.broker_down()
                sends = [producer.send(quality(total_records=number)) for number in range(300)]
                threading.Timer(0.1, platform.broker_up).start()
                # At times the queue has capacity while other records wait.
                for number in range(300, 600):
                    sends.append(producer.send(quality(total_records=number)))
                    if number % 10 == 0:
                        await asyncio.sleep(0.001)
                reports = await asyncio.wait_for(asyncio.gather(*sends), 60)
            assert len({report.partition for report in reports}) == 1
            assert [report.offset for report in reports] == sorted(report.offset for report in reports)
            records = platform.records("data-quality")
            assert [record.event.total_records for record in records][1:] == list(range(600))

    run(work())


def test_a_cancelled_send_in_line_is_not_sent(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=1) as producer:
                await producer.send(quality())
                platform.broker_down()
                accepted = producer.send(quality(total_records=1))
                futures = [producer.send(quality(total_records=2)) for _ in range(3)]

                async def one() -> None:
                    await producer.send(quality(total_records=3))

                task = asyncio.ensure_future(one())
                last = producer.send(quality(total_records=4))
                await asyncio.sleep(0)
                assert producer.stats()["queued"] == 6
                for future in futures:
                    assert future.cancel() and not future.cancel()
                task.cancel()
                # Removed at once, not in the next turn of the loop.
                assert producer.stats()["queued"] == 2
                with pytest.raises(asyncio.CancelledError):
                    await futures[0]
                platform.broker_up()
                assert (await asyncio.wait_for(accepted, 30)).offset < (await last).offset
                # Once the record is accepted, cancelling does not stop it.
                assert not last.cancel()
            records = platform.records("data-quality")
            assert [record.event.total_records for record in records][1:] == [1, 4]

    run(work())


def test_a_send_that_waits_ends_with_the_block_timeout_or_the_producer(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            producer = platform.async_producer(queue_max_records=1, block_timeout_ms=200)
            await producer.send(quality())
            platform.broker_down()
            accepted = producer.send(quality())
            with pytest.raises(QueueFullError):
                await asyncio.wait_for(producer.send(quality()), 30)
            in_line = producer.send(quality())
            closing = asyncio.ensure_future(producer.close(0))
            with pytest.raises(ClosedError):
                await asyncio.wait_for(in_line, 30)
            for one in (accepted, closing):
                with pytest.raises(EventError):
                    await asyncio.wait_for(one, 30)

    run(work())


def test_a_callback_of_a_send_that_waits_is_called(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=1) as producer:
                await producer.send(quality())
                platform.broker_down()
                called: list[Any] = []
                sends = [producer.send(quality(), on_delivery=called.append) for _ in range(5)]
                platform.broker_up()
                reports = await asyncio.wait_for(asyncio.gather(*sends), 30)
                while len(called) < 5:
                    await asyncio.sleep(0.01)
                assert sorted(one.result(0).offset for one in called) == [one.offset for one in reports]

    run(work())


def test_threads_and_tasks_wait_in_one_line(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=1) as producer:
                await producer.send(quality())
                platform.broker_down()
                accepted = producer.send(quality())
                first = asyncio.ensure_future(producer.send_many([quality(), quality()]))
                while producer.stats()["queued"] < 2:
                    await asyncio.sleep(0.001)
                with pytest.raises(QueueFullError):
                    producer.try_send(quality())
                second = producer.send(quality())
                platform.broker_up()
                deliveries = await asyncio.wait_for(first, 30)
                assert (await accepted).offset < deliveries[0].result(30).offset < (await second).offset
                assert await deliveries == 2

    run(work())


def test_a_forked_child_leaves_waiting_records_to_its_parent(run: Runner) -> None:
    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer(queue_max_records=1) as producer:
                await producer.send(quality())
                platform.broker_down()
                sends = [producer.send(quality()) for _ in range(5)]
                child = os.fork()
                if child == 0:
                    for one in sends:
                        one.cancel()
                    sends.clear()
                    gc.collect()
                    posix._exit(7)
                while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                    await asyncio.sleep(0.01)
                assert os.waitstatus_to_exitcode(ended[1]) == 7
                platform.broker_up()
                assert len(await asyncio.wait_for(asyncio.gather(*sends), 30)) == 5

    run(work())


def test_every_callback_is_called_in_its_context_whatever_others_raise(run: Runner) -> None:
    async def work() -> None:
        raised: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
        number = contextvars.ContextVar[int]("number")
        called: list[Any] = []

        def fails(_: Any) -> None:
            raise ValueError("in a callback")

        async def awaits(future: Any) -> None:
            number.set(-1)
            await future
            called.append(number.get())

        with Platform() as platform:
            async with platform.async_producer() as producer:
                await producer.send(quality())
                futures = [producer.send(quality()) for _ in range(20)]
                task = asyncio.ensure_future(awaits(futures[1]))
                await asyncio.sleep(0)
                for index, future in enumerate(futures):
                    if index % 5 == 0:
                        future.add_done_callback(fails)
                    if index % 5 != 1:
                        number.set(index)
                        future.add_done_callback(lambda _: called.append(number.get()))
                futures[7].cancel()
                while not all(future.done() for future in futures):
                    await asyncio.sleep(0.001)
                await task
                await asyncio.sleep(0)
        assert sorted(called) == [-1, *(index for index in range(20) if index % 5 != 1)]
        assert [str(error) for error in raised] == ["in a callback"] * 4

    run(work())


def test_a_send_without_a_running_loop_raises() -> None:
    producer = AsyncEventProducer(bootstrap_servers="127.0.0.1:1", security_protocol="PLAINTEXT")
    with pytest.raises(RuntimeError, match="needs a running event loop") as caught:
        producer.send(quality())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert producer.stats()["accepted"] == 0
    asyncio.run(producer.close())


def test_a_cancelled_wait_recalls_nothing(run: Runner, services: Services) -> None:
    key = f"cancelled-{uuid.uuid4()}"

    async def work() -> None:
        with Platform() as platform:
            async with platform.async_producer() as producer:
                await producer.send(quality())
                platform.broker_down()
                delivery = producer.try_send(quality())
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(delivery, 0.05)
                platform.broker_up()
                assert (await delivery).offset >= 0
        async with AsyncEventProducer(**services.settings()) as producer:
            task = asyncio.ensure_future(producer.send(quality(dataset_name=key)))
            await asyncio.sleep(0)
            task.cancel()

    run(work())
    assert len(read(services, "data-quality", key)) == 1


def test_a_loop_may_close_with_sends_in_flight(run: Runner, services: Services) -> None:
    key = f"in-flight-{uuid.uuid4()}"
    producer = AsyncEventProducer(**services.settings())

    async def leave() -> None:
        for _ in range(100):
            asyncio.ensure_future(producer.send(quality(dataset_name=key)))
        await asyncio.sleep(0)

    async def finish() -> None:
        await producer.send(quality(dataset_name=key))
        await producer.close()

    run(leave())
    run(finish())
    assert len(read(services, "data-quality", key)) == 101


def test_several_loops_share_a_producer(run: Runner, services: Services) -> None:
    producer = EventProducer(**services.settings())
    failed: list[BaseException] = []

    async def work() -> None:
        for _ in range(20):
            await asyncio.gather(*(producer.send(quality()) for _ in range(20)))

    def in_thread() -> None:
        try:
            run(work())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.close()
    assert not failed
    assert producer.stats()["delivered"] == 4 * 20 * 20


def test_many_are_awaited_at_once(run: Runner, services: Services) -> None:
    async def work() -> None:
        async with AsyncEventProducer(**services.settings()) as producer:
            deliveries = await producer.send_many([CALL] * 1000, AuditAPICallEvent)
            assert await deliveries == 1000

    run(work())


def test_events_are_consumed(run: Runner, services: Services) -> None:
    service = f"async-{uuid.uuid4()}"

    async def work() -> None:
        async with AsyncEventProducer(**services.settings()) as producer:
            events = [AuditAPICallEvent(**{**CALL, "service": service}) for _ in range(100)]
            await (await producer.send_many(events))
        options = services.settings(group_id=services.group(), detect_end=True)
        async with AsyncEventConsumer("audit-api-calls", **options) as consumer:
            found = [record.event async for record in consumer if record.key == service.encode()]
            await consumer.commit()
        assert sorted(event.event_id for event in found) == sorted(
            event.event_id for event in events
        )
        options.pop("detect_end")
        async with AsyncEventConsumer("audit-api-calls", **options) as consumer:
            # Everything is committed, so nothing comes; a cancelled wait loses nothing.
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(consumer.next_batch(), 2)

    run(work())


def test_a_delivery_is_awaited_on_a_loop_only(services: Services) -> None:
    with EventProducer(**services.settings()) as producer:
        delivery = producer.send(quality())
        with pytest.raises(RuntimeError, match="no running event loop"):
            delivery.__await__()
        assert delivery.result(30)
