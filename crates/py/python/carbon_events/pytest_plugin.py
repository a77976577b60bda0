"""The pytest fixtures of `carbon_events.testing`. pytest loads them if the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import Platform


@pytest.fixture
def carbon_platform() -> Iterator[Platform]:
    """A Kafka broker with the platform's topics and a schema registry, for one test."""
    # Imported here, so that it costs nothing in a test run without these fixtures.
    from .testing import Platform

    with Platform() as platform:
        yield platform


@pytest.fixture
def carbon_environment(carbon_platform: Platform) -> Iterator[Platform]:
    """Like `carbon_platform`, with the environment variables set that connect a service to it."""
    with carbon_platform.in_environment():
        yield carbon_platform
