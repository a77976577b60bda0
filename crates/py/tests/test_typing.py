"""mypy on what it must take, and on what it must refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "typing"


def mypy(name: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", name]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


def test_right_code_passes_strict_mypy() -> None:
    assert "Success" in mypy("right.py")


def test_every_mistake_is_found() -> None:
    lines = (HERE / "wrong.py").read_text().splitlines()
    expected = {
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r"# wrong: ([\w-]+)", line))
    }
    output = mypy("wrong.py")
    found = {
        (int(match[1]), match[2]) for match in re.finditer(r":(\d+): error: .*\[([\w-]+)\]", output)
    }
    assert found == expected, output
