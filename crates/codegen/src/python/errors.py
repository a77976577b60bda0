"""One class for each kind of error, all subclasses of `EventError`.

A class says what the caller must do: fix the event (`InvalidEventError`), fix the settings
(`InvalidConfigError`), try again later (where `retryable` is true), and so on. `context` holds named
facts: `topic`, `partition`, `event`, `field`, `setting`, …
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar


class EventError(Exception):
    """The base class of all errors that this library raises."""

    #: The kind's name, the same in every language.
    kind: ClassVar[str] = "Internal"
    #: Whether the same call can succeed later without a change.
    retryable: ClassVar[bool] = False

    #: What happened.
    message: str
    #: Named facts.
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
