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


#: A test's definition, by the ending of its file's name. A test of Node is named by its text.
DEFINITIONS = {
    ".rs": r"#\[test\]\s(?:\s*#\[[^\n]*\]\s)*\s*fn (\w+)\(",
    ".py": r"^(?:async )?def (test_\w+)\(",
    ".mjs": r"^\s*test\(\s*'((?:[^'\\]|\\.)+)'",
}


def test_every_guarantee_names_tests_that_exist_where_the_page_says() -> None:
    page = (REPOSITORY / "docs/GUARANTEES.md").read_text(encoding="utf-8")
    folders = dict(re.findall(r"\*\*(\w+)\*\* is `([\w/]+)`", page))
    defined: dict[str, set[str]] = {}
    for suite, folder in folders.items():
        files = [file for file in (REPOSITORY / folder).rglob("*") if file.suffix in DEFINITIONS]
        assert files, folder
        defined[suite] = {
            name.replace("\\'", "'")
            for file in files
            for name in re.findall(
                DEFINITIONS[file.suffix], file.read_text(encoding="utf-8"), re.MULTILINE
            )
        }
    promises = re.findall(r"^\|(?! promise \||-).*\| ([^|]+) \|$", page, re.MULTILINE)
    assert len(promises) > 50
    for tests in promises:
        for named in tests.split("; "):
            suite, _, names = named.partition(" ")
            assert suite in defined, f"{named}: starts with none of {', '.join(defined)}"
            assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", names), named
            for name in re.findall(r"`([^`]+)`", names):
                assert name in defined[suite], f"{folders[suite]} has no test {name}"
