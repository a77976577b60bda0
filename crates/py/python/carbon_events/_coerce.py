"""Converts values of other types to the type of their field.

The native classes call it for a value that they do not accept.
"""

from __future__ import annotations

import datetime
import enum
import operator
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from ._types import ColumnLineage

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MILLISECOND = datetime.timedelta(milliseconds=1)


def _long(value: Any) -> Any:
    # A bool has `__index__`, but is never a number here.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return operator.index(value)


def _double(value: Any) -> Any:
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return value
    return float(value)


def _string(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    return _symbol(value)


def _symbol(value: Any) -> Any:
    if isinstance(value, enum.Enum) and isinstance(value.value, str):
        return value.value
    return value


def _timestamp(value: Any) -> Any:
    if not isinstance(value, datetime.datetime):
        return _long(value)
    if value.tzinfo is None:
        raise ValueError("must have a time zone: a naive datetime is ambiguous")
    return (value - _EPOCH) // _MILLISECOND


def _map(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _array(value: Any) -> Any:
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        return value
    return list(value)


def _records(value: Any) -> Any:
    items = _array(value)
    if not isinstance(items, (list, tuple)):
        return value
    return [_column(index, item) for index, item in enumerate(items)]


def _column(index: int, item: Any) -> Any:
    if isinstance(item, ColumnLineage):
        return item
    if isinstance(item, Mapping):
        fields = {_NAMES.get(name, name): value for name, value in item.items()}
        unknown = [name for name in fields if name not in ColumnLineage._fields]
        if unknown:
            raise ValueError(f"[{index}]: {unknown[0]} is not a field of ColumnLineage")
        for name in ("source_column", "target_column"):
            if name not in fields:
                raise ValueError(f"[{index}].{name} is required")
        return ColumnLineage(**fields)
    if isinstance(item, (list, tuple)) and len(item) in (2, 3):
        return ColumnLineage(*item)
    raise ValueError(f"[{index}] must be a ColumnLineage, got {type(item).__name__}")


_NAMES = {"sourceColumn": "source_column", "targetColumn": "target_column"}

_BY_TYPE = {
    "a long": _long,
    "an int": _long,
    "a double": _double,
    "a string": _string,
    "an enum symbol": _symbol,
    "a timestamp": _timestamp,
    "a map": _map,
    "an array": _array,
    "an array of records": _records,
}


def coerce(expected: str, value: Any) -> Any:
    """Returns the converted value, or the same object if there is no conversion."""
    function = _BY_TYPE.get(expected)
    return value if function is None else function(value)
