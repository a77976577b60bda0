"""Settings as keywords: texts by name for the core, which knows names, defaults and bounds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from . import _native
from .errors import InvalidConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "value"):
        # An enum's member.
        return _text(value.value)
    if hasattr(value, "total_seconds"):
        return str(round(value.total_seconds() * 1000))
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return ",".join(f"{_text(name)}={_text(item)}" for name, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return ",".join(map(_text, value))
    return str(value)


def texts(options: Mapping[str, Any], groups: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings and librdkafka's properties, each value as text; `None` counts as not given."""
    properties = options.get("properties") or {}
    given = {
        name: _text(value)
        for name, value in options.items()
        if value is not None and name != "properties"
    }
    if given:
        known = [entry["name"] for entry in _native.settings() if entry["group"] in groups]
        for name in given:
            if name not in known:
                raise unknown(name, known)
    return given, {name: _text(value) for name, value in properties.items() if value is not None}


def unknown(name: str, known: list[str]) -> Exception:
    """The error of a mistyped setting, with the nearest right name."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return InvalidConfigError(f"there is no setting {name}{hint}", {"setting": name})
