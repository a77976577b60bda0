"""Type checkers in strict mode: correct code passes, every mistake is an error.

What they must take is `typing/right.py` and the documents' Python, as an editor would show it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import snippets

HERE = Path(__file__).parent / "typing"
#: A document matches only the events that it describes.
PYRIGHT = {"typeCheckingMode": "strict", "reportMatchNotExhaustive": False}
Mistakes = set[tuple[str, int, str]]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code to check."""
    folder = tmp_path_factory.mktemp("typing")
    for file in HERE.glob("*.py"):
        shutil.copy(file, folder)
    for snippet in snippets():
        name = re.sub(r"\W", "_", snippet.name)
        (folder / f"{name}.py").write_text(snippet.code)
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    return folder


def mistakes(checker: str) -> Mistakes:
    """The deliberate mistakes, with the error codes of mypy (first) and pyright (second)."""
    lines = (HERE / "wrong.py").read_text().splitlines()
    marks = ((line, re.search(r"# wrong: ([\w-]+), (\w+)", text)) for line, text in enumerate(lines, 1))
    which = ["mypy", "pyright"].index(checker) + 1
    return {("wrong.py", line, mark[which]) for line, mark in marks if mark}


def test_mypy_refuses_every_mistake_and_nothing_else(code: Path) -> None:
    files = sorted(file.name for file in code.glob("*.py"))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *files]
    done = subprocess.run(command, cwd=code, capture_output=True, text=True, timeout=300)
    errors = re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    found = {(file, int(line), rule) for file, line, rule in errors}
    assert found == mistakes("mypy"), done.stdout + done.stderr


def test_pyright_refuses_every_mistake_and_nothing_else(code: Path) -> None:
    output = pyright("--outputjson", "--pythonpath", sys.executable, str(code))
    found = {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["rule"])
        for one in json.loads(output)["generalDiagnostics"]
    }
    assert found == mistakes("pyright"), output


@pytest.mark.parametrize("package", ["carbon_events", "event_producer"])
def test_the_type_of_everything_public_is_known(package: str) -> None:
    output = pyright("--verifytypes", package, "--ignoreexternal")
    assert "Type completeness score: 100%" in output, output


def pyright(*arguments: str) -> str:
    program = os.environ.get("CARBON_EVENTS_PYRIGHT")
    if program is None:
        raise pytest.fail.Exception("CARBON_EVENTS_PYRIGHT names no program; run cargo xtask test")
    # It searches packages with the first `python` on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["node", program, *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout + done.stderr
