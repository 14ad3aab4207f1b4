"""The documents are true: the worked example works, the verbs and files they name exist."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from curation.scorer import About, ClipFrames
from curation.video import Frame
from jobs.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md")]


def test_the_worked_example_of_a_scorer_works(monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    module = types.ModuleType("colourfulness")
    monkeypatch.setitem(sys.modules, "colourfulness", module)
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    scorer = module.ColourfulnessScorer(module.ColourfulnessSettings())
    grey = np.full((144, 256, 3), 90, np.uint8)
    vivid = np.zeros((144, 256, 3), np.uint8)
    vivid[:, :128, 2], vivid[:, 128:, 0] = 255, 255
    values = [
        scorer(
            ClipFrames.of([Frame(0, 0.0, picture[..., 0], picture)], scorer.frames, About(*picture.shape[1::-1], 24.0))
        )
        for picture in (grey, vivid)
    ]
    assert values[0] == 0
    assert values[1] > 100


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_links_to_exists(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_readme_names_every_verb():
    text = (ROOT / "README.md").read_text()
    assert f"The verbs: `{' '.join(VERBS)}`" in text


def test_the_readme_names_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE))
        assert named <= targets, (path, named - targets)
