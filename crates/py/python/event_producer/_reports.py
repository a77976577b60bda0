"""The errors, messages and log lines that callbacks written for confluent-kafka receive."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("event_producer")

#: librdkafka's code and name for each kind of the library's own errors.
_CODES = {
    "QueueFull": (-184, "_QUEUE_FULL"),
    "Timeout": (-192, "_MSG_TIMED_OUT"),
    "Closed": (-197, "_DESTROY"),
    "Authentication": (-169, "_AUTHENTICATION"),
    "Authorization": (29, "TOPIC_AUTHORIZATION_FAILED"),
    "UnknownTopic": (3, "UNKNOWN_TOPIC_OR_PART"),
    "RecordTooLarge": (10, "MSG_SIZE_TOO_LARGE"),
    "InvalidConfig": (-186, "_INVALID_ARG"),
    "Unavailable": (-195, "_TRANSPORT"),
    "Aborted": (-152, "_PURGE_QUEUE"),
}
_FAIL = (-196, "_FAIL")

#: Syslog levels as levels of `logging`.
_LEVELS = {
    0: logging.CRITICAL,
    1: logging.CRITICAL,
    2: logging.CRITICAL,
    3: logging.ERROR,
    4: logging.WARNING,
    5: logging.INFO,
    6: logging.INFO,
    7: logging.DEBUG,
}


class KafkaError:
    """The error of a delivery or of the client."""

    __slots__ = ("_code", "_name", "exception")

    def __init__(self, exception: Any, code: int | None, name: str | None) -> None:
        #: The error as an exception of the library.
        self.exception = exception
        if code is None or name is None:
            code, name = _CODES.get(exception.kind, _FAIL)
        self._code, self._name = code, name

    def code(self) -> int:
        """librdkafka's error code: negative for its own errors, otherwise the broker's."""
        return self._code

    def name(self) -> builtins.str:
        """The code's name, such as `_MSG_TIMED_OUT`."""
        return self._name

    def str(self) -> builtins.str:
        """The error message."""
        return f"{self.exception.message}"

    def fatal(self) -> bool:
        """Always false: after a fatal error the producer starts a new session."""
        return False

    def retriable(self) -> bool:
        """Whether sending the same record again may succeed."""
        return bool(self.exception.retryable)

    def txn_requires_abort(self) -> bool:
        """Always false: there are no transactions."""
        return False

    def __str__(self) -> builtins.str:
        return f'KafkaError{{code={self._name},val={self._code},str="{self.exception.message}"}}'

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, KafkaError):
            return self._code == other._code
        return self._code == other if isinstance(other, int) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._code)


class Message:
    """A delivered or failed record."""

    __slots__ = ("_error", "_headers", "_key", "_latency", "_place", "_topic", "_value")

    def __init__(
        self,
        error: KafkaError | None,
        topic: str,
        place: tuple[int, int, int],
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]] | None,
        latency: float,
    ) -> None:
        self._error = error
        self._topic = topic
        self._place = place
        self._key = key
        self._value = value
        self._headers = headers
        self._latency = latency

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def timestamp(self) -> tuple[int, int]:
        """The timestamp's type (1: create time, 0: none) and the milliseconds UTC."""
        return (1, self._place[2]) if self._place[2] >= 0 else (0, 0)

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def latency(self) -> float:
        """The seconds from the call of `produce` to the delivery."""
        return self._latency

    def leader_epoch(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self._value) if self._value is not None else 0

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Message {self._topic} [{self._place[0]}] @ {self._place[1]}>"


def _plain(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else None if value is None else bytes(value)


def report(arguments: tuple[Any, ...]) -> None:
    """Calls a record's callbacks."""
    callbacks, only_errors, finished, error, topic, place, key, value, headers, latency = arguments
    try:
        failed = None if error is None else KafkaError(*error)
        if failed is None and only_errors:
            return
        if isinstance(headers, dict):
            headers = list(headers.items())
        message = Message(failed, topic, place, _plain(key), _plain(value), headers, latency)
        for callback in callbacks:
            _call(callback, failed, message)
    finally:
        finished()


def client_error(arguments: tuple[Callable[[KafkaError], object], tuple[Any, ...]]) -> None:
    """Calls `error_cb`."""
    callback, error = arguments
    _call(callback, KafkaError(*error))


def log_line(arguments: tuple[logging.Logger, int, str, str]) -> None:
    """Writes a log line of librdkafka to the caller's logger."""
    target, level, facility, text = arguments
    target.log(_LEVELS.get(level, logging.INFO), "%s %s", facility, text)


def _call(callback: Callable[..., object], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception:
        logger.exception("a callback raised")
