"""Settings as keywords: texts by name for the core, which knows names, defaults and bounds."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def _text(value: Any) -> str:
    # Here, because it takes as long as importing all the rest does.
    from collections.abc import Iterable, Mapping

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


def texts(options: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings and librdkafka's properties, each value as text; `None` counts as not given."""
    properties = options.get("properties") or {}
    given = {
        name: _text(value)
        for name, value in options.items()
        if value is not None and name != "properties"
    }
    return given, {name: _text(value) for name, value in properties.items() if value is not None}
