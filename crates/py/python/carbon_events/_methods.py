"""The methods of the event classes that are not speed-critical."""

from __future__ import annotations

import functools

from . import _native
from ._native import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from typing import Any

_ENVELOPE = (
    "event_id",
    "timestamp",
    "source",
    "version",
    "correlation_id",
    "causation_id",
)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _names(cls: type) -> tuple[str, ...]:
    return (*_ENVELOPE, *cls.__match_args__)  # type: ignore[attr-defined]


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _names(type(event))}


class _Kept(str):
    """A value taken from an event. If it is a hash, it is not hashed again."""

    __slots__ = ()


@functools.cache
def _hashed(cls: type) -> tuple[str, ...]:
    """The attributes that the schema marks to be hashed."""
    import json

    fields = json.loads(_native.event_schema(cls))["fields"]
    hashed = {field["name"] for field in fields if field.get("sensitive", {}).get("action") == "hash"}
    return tuple(name for name in _names(cls) if _camel(name) in hashed)


def _kept(event: Any) -> dict[str, Any]:
    fields = _fields(event)
    for name in _hashed(type(event)):
        if fields[name] is not None:
            fields[name] = _Kept(fields[name])
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [item._asdict() if hasattr(item, "_asdict") else item for item in value]
    return value


def to_dict(self: Any) -> dict[str, Any]:
    """The fields by attribute name, for `from_dict` or a dataclass."""
    fields = {name: _plain(value) for name, value in _kept(self).items()}
    fields["event_type"] = self.event_type
    return fields


def from_dict(cls: Any, fields: Mapping[str, Any], /) -> Any:
    """Creates an event from a `to_dict` result, or from a mapping with the schema's names."""
    by_schema = {_camel(name): name for name in _names(cls)}
    given = {}
    for name, value in fields.items():
        if name in ("event_type", "eventType"):
            if value != cls.__name__:
                message = f"{cls.__name__}.event_type must be {cls.__name__}"
                raise _invalid(cls, "event_type", message)
            continue
        if not isinstance(name, str):
            message = f"{cls.__name__}: field names must be str, got {type(name).__name__}"
            raise _field_type(cls, message)
        given[by_schema.get(name, name)] = value
    return cls(**given)


def _invalid(cls: Any, field: str, message: str) -> Exception:
    from .errors import InvalidEventError

    return InvalidEventError(message, {"event": cls.__name__, "field": field})


def _field_type(cls: Any, message: str) -> Exception:
    from .errors import FieldTypeError

    return FieldTypeError(message, {"event": cls.__name__})


def to_json(self: Any) -> str:
    """The event as a flat JSON object, with the schema's names."""
    return _native.event_to_json(self)


def from_json(cls: Any, text: str | bytes, /) -> Any:
    """Creates an event from a flat JSON object. Every field must have the right JSON type."""
    if isinstance(text, str):
        text = text.encode()
    return _native.event_from_json_text(cls, bytes(text))


def to_avro(self: Any) -> bytes:
    """The event's Avro body, without framing."""
    return _native.event_to_avro(self)


def from_avro(cls: Any, body: bytes, /) -> Any:
    """Creates an event from an Avro body written with this schema."""
    return _native.event_from_avro(cls, bytes(body))


def replace(self: Any, **changes: Any) -> Any:
    """A copy with some fields changed. It keeps the `event_id` unless that is changed."""
    return type(self)(**{**_kept(self), **changes})


def time(self: Any) -> datetime.datetime:
    """`timestamp` as a datetime in UTC."""
    import datetime

    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return epoch + datetime.timedelta(milliseconds=self.timestamp)


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={_shown(value)}" for name, value in _fields(self).items())
    return f"{type(self).__name__}({fields})"


def _shown(value: Any) -> str:
    # An enum as the string that the constructor accepts.
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _reduce(self: Any) -> tuple[Any, ...]:
    return _restore, (type(self), _native.event_to_avro(self))


def _restore(cls: Any, body: bytes) -> Any:
    return _native.event_from_avro(cls, body)


def _itself(self: Any, memo: Any = None) -> Any:
    return self


def _is_final(cls: Any, **_: Any) -> None:
    raise TypeError("event classes cannot be subclassed: wrap an event, or use `replace`")


def _attach() -> None:
    _native.keep_hashes_of(_Kept)
    for method in (to_dict, to_json, to_avro, replace):
        setattr(Event, method.__name__, method)
    for method in (from_dict, from_json, from_avro):
        setattr(Event, method.__name__, classmethod(method))
    setattr(Event, "time", property(time))
    setattr(Event, "__init_subclass__", classmethod(_is_final))
    setattr(Event, "__repr__", _repr)
    setattr(Event, "__reduce__", _reduce)
    setattr(Event, "__copy__", _itself)
    setattr(Event, "__deepcopy__", _itself)
    setattr(Event, "__replace__", replace)


_attach()
