"""What a study keeps: its secret, what was asked, and every answer once; and what it refuses to change."""

import stat
from dataclasses import replace

import pytest

from annotation.study.axes import Design
from annotation.study.settings import StudySettings, SystemSettings
from curation.records import Failure, UserError
from curation.study_records import StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace
from jobs.study_format import Format
from jobs.study_state import Study, keep, open_study, with_prompts, with_videos
from tests.annotation.study.asked import answer, item, prompts_of

FORMAT = Format(width=64, height=48, frame_rate=8.0, num_frames=16, fit="crop")
SETTINGS = StudySettings(
    name="s", systems=(SystemSettings(name="ours", videos="x"), SystemSettings(name="theirs", videos="x"))
)


def shown(workspace: Workspace, system: str, key: str, prompt_id: str = "p0000") -> StudyVideo:
    workspace.write_bytes(b"mp4", "media", "study", f"{key}.mp4")
    return StudyVideo("s", key, system, prompt_id, f"/videos/{key}", "", "", 64, 48, 8.0, 16)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def study(workspace) -> Study:
    """Two prompts, a video of each system for both, nothing asked yet."""
    rows = [
        shown(workspace, system, f"{system}.{prompt.prompt_id}", prompt.prompt_id)
        for system in ("ours", "theirs")
        for prompt in prompts_of(2)
    ]
    workspace.table("study_videos").append("some", rows[:2])
    workspace.table("study_videos").append("others", rows[2:])
    return with_videos(with_prompts(open_study(workspace, SETTINGS), prompts_of(2)), {row.media_key for row in rows})


def asked(study: Study, *items: StudyItem) -> Study:
    return keep(study, FORMAT).with_items(items)


def test_the_secret_is_drawn_once_and_is_for_nobody_else(workspace):
    first, again = open_study(workspace, SETTINGS), open_study(workspace, SETTINGS)
    assert first.secret == again.secret and len(first.secret) == 32
    assert stat.S_IMODE(workspace.local_path("study", "s", "secret").stat().st_mode) == 0o600
    other = open_study(workspace, SETTINGS.model_copy(update={"name": "t"}))
    assert other.secret != first.secret


def test_a_study_is_read_as_it_was_left(study, workspace):
    left = asked(study, item("one", "ours", "theirs")).with_answers([answer("one", "anna", "A")])
    found = open_study(workspace, SETTINGS)
    assert found == left and found.kept is not None and found.kept.format == FORMAT
    assert found.texts == {"p0000": "prompt 0", "p0001": "prompt 1"}


def test_an_answer_is_kept_once_and_a_changed_one_beside_it(study, workspace):
    first, changed = answer("one", "anna", "A"), answer("one", "anna", "B", after_s=9)
    study = asked(study, item("one", "ours", "theirs")).with_answers([first])
    assert study.with_answers([first]) is study
    study = study.with_answers([first, changed])
    assert [row.answer_key for row in workspace.table("study_answers").records()] == sorted(
        [first.answer_key, changed.answer_key]
    )
    assert len(study.answers) == 2


def test_a_refused_answer_is_a_failure_once(study, workspace):
    failure = Failure("study collect", "d", "key", "label", "no answer", "overall", "2026-01-01")
    assert [study.keep_failures([failure]), study.keep_failures([failure])] == [1, 0]
    assert workspace.table("failures").records() == [failure]


def test_design_and_systems_stay_once_a_question_is_out(study, workspace):
    with_more = SETTINGS.model_copy(update={"systems": (*SETTINGS.systems, SystemSettings(name="more", videos="x"))})
    absolute = SETTINGS.model_copy(update={"design": Design.ABSOLUTE})
    assert open_study(workspace, with_more).settings == with_more
    asked(study, item("one", "ours", "theirs"))
    with pytest.raises(UserError, match=r"study s has asked 1 questions with systems .*; give another study another"):
        open_study(workspace, with_more)
    with pytest.raises(UserError, match=r"with design pairwise, and study\.design is now absolute"):
        open_study(workspace, absolute)
    assert open_study(workspace, absolute.model_copy(update={"name": "t"})).items == ()


def test_a_prompt_that_was_asked_about_stays_as_it_was(study, workspace):
    study = asked(study, item("one", "ours", "theirs"))
    one, two = prompts_of(2)
    more = [one, replace(two, prompt="another"), StudyPrompt("s", "p0002", "a third")]
    assert [row.prompt for row in with_prompts(study, more).prompts] == ["prompt 0", "another", "a third"]
    assert len(open_study(workspace, SETTINGS).prompts) == 3
    with pytest.raises(
        UserError, match=r"has asked about prompt p0000 as 'prompt 0', and study\.prompts now says 'new'"
    ):
        with_prompts(study, [replace(one, prompt="new"), two])


def test_videos_nobody_was_asked_about_make_room_for_others(study, workspace):
    new = shown(workspace, "ours", "new", "p0001")
    workspace.table("study_videos").append("new", [new])
    study = with_videos(study, {"ours.p0000", "new", "theirs.p0000", "theirs.p0001"})
    assert workspace.table("study_videos").records() == list(study.videos)
    assert {row.media_key for row in study.videos} == {"ours.p0000", "new", "theirs.p0000", "theirs.p0001"}
    assert "ours.p0001.mp4" not in workspace.file_names("media", "study")
    other = replace(new, study="other", media_key="of another study")
    workspace.table("study_videos").append("other", [other])
    with_videos(study, {"ours.p0000"})
    assert other in workspace.table("study_videos").records()


def test_a_video_that_was_asked_about_is_not_replaced(study, workspace):
    study = asked(study, item("one", "ours", "theirs"))
    with pytest.raises(UserError, match=r"1 videos of study s were asked about .* ours's of prompt p0000 \("):
        with_videos(study, {"theirs.p0000"})
    assert len(workspace.table("study_videos").records()) == 4
