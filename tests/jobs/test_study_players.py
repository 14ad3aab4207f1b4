"""Videos side by side: chosen by answers for and against, copied beside the page under names that tell nothing."""

import numpy as np
import pytest

from annotation.study.axes import ALL_AXES, Design
from annotation.study.intervals import Interval
from annotation.study.planning import Remaining, State
from annotation.study.rows import pair_votes, pass_votes
from annotation.study.votes import PairVotes
from curation.study_records import StudyPrompt
from jobs.study_figures import Contest
from jobs.study_players import VIDEOS, examples, exhibits
from tests.jobs.studied import studied

CONTEST = Contest("ours", "theirs", Interval(0.1, 0.0, 0.2), Remaining(State.ANSWERS, 2.0, 6), answers=6)


def votes(said: list[tuple[int, int, list[int]]]) -> PairVotes:
    """(prompt, system on side A, an answer per axis)."""
    prompts, first = (np.array([row[place] for row in said], np.int32) for place in (0, 1))
    answers = np.array([row[2] for row in said], np.int8)
    names = tuple(f"p{number}" for number in range(4))
    return PairVotes(("ours", "theirs"), names, ("j",), ALL_AXES, first, 1 - first, prompts, 0 * prompts, answers)


def test_the_most_one_sided_prompt_each_way_is_shown_whatever_the_sides():
    given = votes([(0, 0, [0, 0, 1, 0]), (1, 1, [2, 2, 2, 2]), (2, 1, [0, 0, 0, 1]), (3, 0, [1, 1, 1, 1])])
    for_ours, for_theirs = examples(given, [CONTEST], 10)
    assert (for_ours.prompt_id, for_ours.preferred, for_ours.other) == ("p1", "ours", "theirs")
    assert (for_theirs.prompt_id, for_theirs.preferred, for_theirs.other) == ("p2", "theirs", "ours")
    assert for_theirs.said["theirs"] == "won text 1 of 1, motion 1 of 1, visual 1 of 1, overall 0 of 1"
    assert for_theirs.said["ours"] == "won text 0 of 1, motion 0 of 1, visual 0 of 1, overall 0 of 1"
    assert examples(given, [CONTEST], 1) == [for_ours]


def test_no_example_is_made_up_where_nobody_preferred_the_other():
    assert [each.preferred for each in examples(votes([(0, 0, [0, 0, 0, 0])]), [CONTEST], 10)] == ["ours"]
    assert examples(votes([(0, 0, [1, 1, 1, 1])]), [CONTEST], 10) == []


@pytest.mark.parametrize("design", list(Design))
def test_videos_lie_beside_the_page_and_one_that_is_gone_says_so(tmp_path, design):
    workspace = studied(tmp_path, design, {"ours": 0.8, "theirs": 0.1}, num_prompts=6, num_judges=2)
    prompts, videos, items, answers = (
        workspace.table(f"study_{name}").records() for name in ("prompts", "videos", "items", "answers")
    )
    read = pair_votes if design is Design.PAIRWISE else pass_votes
    chosen = examples(read(prompts, videos, items, answers), [CONTEST], 1)
    of_id: dict[str, StudyPrompt] = {prompt.prompt_id: prompt for prompt in prompts}
    (shown,) = exhibits(workspace, ("page",), chosen, of_id, videos)
    assert shown.title == "ours rather than theirs" and shown.prompt == of_id[chosen[0].prompt_id].prompt
    assert [pane.system for pane in shown.shown] == ["ours", "theirs"]
    for pane in shown.shown:
        folder, name = pane.address.split("/")
        assert folder == VIDEOS and pane.poster.startswith("data:image/jpeg") and pane.width == pane.height == 32
        assert workspace.read_bytes("page", folder, name) == workspace.read_bytes("media", "study", name)
    workspace.fs.delete_dir(workspace.path("media"))
    (gone,) = exhibits(workspace, ("page",), chosen, of_id, videos)
    assert all("not in the workspace any more" in pane.missing for pane in gone.shown)
