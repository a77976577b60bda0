"""The snippets of the documents run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from carbon_events.testing import Platform
from conftest import REPOSITORY, snippets

SNIPPETS = [pytest.param(one.kind, one.code, id=one.name) for one in snippets()]


@pytest.mark.parametrize("kind, code", SNIPPETS)
def test_a_snippet_runs(kind: str, code: str, carbon_environment: Platform, tmp_path: Path) -> None:
    script = tmp_path / "test_snippet.py"
    script.write_text(code)
    command = ["-m", "pytest", "-q", str(script)] if kind == "pytest" else [str(script)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_behaviour_of_the_old_module_names_a_test_that_exists() -> None:
    page = (REPOSITORY / "docs/python.md").read_text(encoding="utf-8")
    [table] = re.findall("<!-- behaviours: begin -->(.*)<!-- behaviours: end -->", page, re.DOTALL)
    named = re.findall(r"`(test_\w+)` \|$", table, re.MULTILINE)
    assert len(named) == len(table.strip().splitlines()) - 2
    sources = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert set(named) <= there, set(named) - there
