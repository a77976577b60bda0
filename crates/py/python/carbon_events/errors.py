"""One class for each kind of error, all below `EventError`.

A class says what to do about it: mend the event (`InvalidEventError`), mend the settings
(`InvalidConfigError`), wait and try again (where `retryable` is true), and so on. `context` holds
the facts by name: `topic`, `partition`, `event`, `field`, `setting`, …
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar


class EventError(Exception):
    """Everything that this library raises by itself."""

    #: The kind's name, the same in every language.
    kind: ClassVar[str] = "Internal"
    #: Whether the same call can succeed later with nothing changed.
    retryable: ClassVar[bool] = False

    #: What happened, in a sentence.
    message: str
    #: The facts by name.
    context: dict[str, Any]

    def __init__(self, message: str = "", context: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.context = dict(context or {})

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.context.items())
        return f"{self.message} ({facts})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.context)


class InvalidEventError(EventError, ValueError):
    """A field's value is refused: mend the event. `context` names `event` and `field`."""

    kind = "InvalidEvent"


class FieldTypeError(InvalidEventError, TypeError):
    """A keyword is missing or unknown, or its value is of a wrong type."""


class InvalidConfigError(EventError, ValueError):
    """A setting is unknown or its value is refused. `context` names `setting`."""

    kind = "InvalidConfig"


class QueueFullError(EventError, BufferError):
    """The queue stayed full for as long as the caller was ready to wait: send again later."""

    kind = "QueueFull"
    retryable = True


class EventTimeoutError(EventError, TimeoutError):
    """A deadline passed. For a record: nobody can say whether the broker has it."""

    kind = "Timeout"
    retryable = True


class ClosedError(EventError):
    """The producer or consumer was closed: make a new one."""

    kind = "Closed"


class AuthenticationError(EventError):
    """A certificate or password was refused: mend the credentials."""

    kind = "Authentication"


class AuthorizationError(EventError, PermissionError):
    """The broker or registry knows us and says no: mend the access rules."""

    kind = "Authorization"


class UnknownTopicError(EventError, LookupError):
    """The topic or partition does not exist: create it."""

    kind = "UnknownTopic"


class RecordTooLargeError(EventError, ValueError):
    """The record is larger than the client or the topic allows: make it smaller."""

    kind = "RecordTooLarge"


class UndecodableError(EventError, ValueError):
    """Bytes that are no event in any of the formats that are read."""

    kind = "Undecodable"


class IncompatibleSchemaError(EventError, ValueError):
    """The registry or a reader's schema does not accept a schema: mend the schema."""

    kind = "IncompatibleSchema"


class UnavailableError(EventError, ConnectionError):
    """Broker or registry cannot be reached or is not able to answer: try again later."""

    kind = "Unavailable"
    retryable = True


class AbortedError(EventError):
    """The record was given up before it was sent: send again."""

    kind = "Aborted"
    retryable = True


class InternalError(EventError):
    """A fault of the library that no input explains: report it."""


BY_KIND: dict[str, type[EventError]] = {
    error.kind: error
    for error in (
        InvalidEventError,
        InvalidConfigError,
        QueueFullError,
        EventTimeoutError,
        ClosedError,
        AuthenticationError,
        AuthorizationError,
        UnknownTopicError,
        RecordTooLargeError,
        UndecodableError,
        IncompatibleSchemaError,
        UnavailableError,
        AbortedError,
        InternalError,
    )
}

__all__ = [
    "AbortedError",
    "AuthenticationError",
    "AuthorizationError",
    "ClosedError",
    "EventError",
    "EventTimeoutError",
    "FieldTypeError",
    "IncompatibleSchemaError",
    "InternalError",
    "InvalidConfigError",
    "InvalidEventError",
    "QueueFullError",
    "RecordTooLargeError",
    "UnavailableError",
    "UndecodableError",
    "UnknownTopicError",
]
