"""The house rules that a machine can check: layers, sizes, names, openings, and nothing happening at import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("annotation", "curation", "jobs", "model", "training")
SOURCES = sorted(path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py"))
LIBRARY = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ROOMS]
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_LOOP_LINES = 500, 60, 100
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "base", "manager"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_layers_hold():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") < MAX_FILE_LINES
    limit = MAX_LOOP_LINES if name(path) == "training/loop.py" else MAX_FUNCTION_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < limit, f"{node.name} is too long"


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.name != "__init__.py"], ids=name)
def test_every_module_opens_with_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "no opening paragraph"


def test_no_file_hides_behind_a_vague_name():
    assert [name(path) for path in SOURCES if path.stem in FORBIDDEN_NAMES] == []


def test_every_library_file_has_its_test_file():
    """`room/folder/file.py` is tested in `tests/room/test_file.py` or `tests/room/folder/test_file.py`."""
    untested = []
    for path in LIBRARY:
        relative = path.relative_to(ROOT)
        if path.stem in ("__init__", "__main__"):
            continue
        homes = (relative.parent, Path(relative.parts[0]))
        if not any((ROOT / "tests" / home / f"test_{path.stem}.py").exists() for home in homes):
            untested.append(name(path))
    assert untested == []


@pytest.mark.parametrize("room", (*ROOMS, "tests"))
def test_every_room_has_a_one_screen_readme(room):
    lines = (ROOT / room / "README.md").read_text().splitlines()
    assert 5 < len(lines) <= 60


@pytest.mark.slow
def test_importing_a_room_does_nothing():
    """No folder made, no thread started, no environment changed, no heavy package loaded by the packages themselves."""
    code = f"""
import os, sys, threading
before, environment, threads = set(os.listdir()), dict(os.environ), threading.active_count()
for room in {ROOMS!r}:
    __import__(room)
assert set(os.listdir()) == before and dict(os.environ) == environment and threading.active_count() == threads
heavy = {{"torch", "ray", "cv2", "av", "transformers", "pandas"}} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, check=True)


def test_the_repository_names_no_machine_of_ours():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    texts = [ROOT / line for line in listed if line and (ROOT / line).is_file()]
    forbidden = re.compile("/" + r"work/(main|shared)|/" + "root/|" + r"find-links\s*=|extra-" + "index-url")
    assert [name(path) for path in texts if forbidden.search(path.read_text(errors="ignore"))] == []
