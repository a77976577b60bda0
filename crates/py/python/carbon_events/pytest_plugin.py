"""Fixtures of `carbon_events.testing`, found by pytest where the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import Platform


@pytest.fixture
def carbon_platform() -> Iterator[Platform]:
    """A broker with the platform's topics and a registry, for this test alone."""
    # Imported here: a test run that uses no fixture of ours does not wait for it.
    from .testing import Platform

    with Platform() as platform:
        yield platform


@pytest.fixture
def carbon_environment(carbon_platform: Platform) -> Iterator[Platform]:
    """The same, with the environment variables set that point services to it."""
    with carbon_platform.in_environment():
        yield carbon_platform
