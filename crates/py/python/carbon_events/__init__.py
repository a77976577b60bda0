"""Typed events of the 254Carbon data platform on Kafka."""

import atexit as _atexit

from . import _methods, errors, events
from ._consumer import AsyncEventConsumer, EventConsumer
from ._dispatch import shutdown as _shutdown
from ._native import Deliveries, Delivery, DeliveryReport, Record, __version__
from ._producer import AsyncEventProducer, EventProducer
from .errors import *  # noqa: F403

_atexit.register(_shutdown)

__all__ = [
    "AsyncEventConsumer",
    "AsyncEventProducer",
    "Deliveries",
    "Delivery",
    "DeliveryReport",
    "EventConsumer",
    "EventProducer",
    "Record",
    "__version__",
    "errors",
    "events",
    *errors.__all__,
    *events.__all__,
]


def __getattr__(name: str) -> object:
    # Events and enums are listed once, in `events`. Enums are created on first access.
    if name in events.__all__:
        value = getattr(events, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
