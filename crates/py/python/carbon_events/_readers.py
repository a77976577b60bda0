"""Unique numbers of the tasks and greenlets that read. Unlike an `id`, a number is never reused."""

from __future__ import annotations

from itertools import count
from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_counter = count(1)
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def number_of(reader: Any) -> int:
    """The number of a task or a greenlet."""
    number = _numbers.get(reader)
    if number is None:
        number = _numbers[reader] = next(_counter)
    return number


def of_task() -> int | None:
    """The number of the running task; `None` outside of one."""
    from asyncio import current_task

    try:
        task = current_task()
    except RuntimeError:
        return None
    return None if task is None else number_of(task)
