"""Rows of a study survive their tables, and a repeated part counts once."""

from dataclasses import replace

import pytest

from curation.study_records import ItemKind, StudyAnswer, StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace

ROWS = {
    "study_prompts": StudyPrompt("s", "p1", "A dog runs.", '{"kind": "animals"}'),
    "study_videos": StudyVideo("s", "m1", "ours", "p1", "file:///a.mp4", "ab", "cd", 854, 480, 24.0, 120, "cut"),
    "study_items": StudyItem("s", "i1", ItemKind.REPEAT.value, "p1", "m1", "m2", 0, 1, "ann", "i0"),
    "study_answers": StudyAnswer("s", "a1", "i1", "ann", '{"overall": "A"}', None, "2026-01-01T00:00:00Z", False),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_comes_back_as_it_was_written_once(name, tmp_path):
    table = Workspace(str(tmp_path)).table(name)
    other_study = replace(ROWS[name], study="t")
    table.append("first", [ROWS[name]])
    table.append("second", [ROWS[name], other_study])
    assert table.records() == [ROWS[name], other_study]
