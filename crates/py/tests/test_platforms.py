"""Runs the smoke test of the other platforms' wheels on this platform."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import SCHEMAS

SMOKE = Path(__file__).parent / "smoke.py"


def test_one_pass_needs_the_wheel_and_the_standard_library_alone() -> None:
    command = [sys.executable, "-I", str(SMOKE), str(SCHEMAS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed:" in done.stdout
