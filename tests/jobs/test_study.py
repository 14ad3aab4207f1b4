"""The verb `study`: what is found becomes shown videos; what is answered becomes the next round, until it is known."""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from annotation.project import AnnotationSettings
from annotation.study.axes import Design
from annotation.study.crowd import answers_to, crowd_for
from annotation.study.dealing import asked, first_items
from annotation.study.settings import (
    AdaptiveSettings,
    CheckSettings,
    NormaliseSettings,
    StudySettings,
    SystemSettings,
)
from curation.records import UserError
from curation.study_records import ItemKind
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.engine import EngineSettings
from jobs.study import next_round, prepare, run
from jobs.study_format import Format
from jobs.study_state import Study, keep, open_study, with_prompts
from tests.annotation.study.asked import prompts_of, video
from tests.footage import audio_only, moving_texture

SYSTEMS = ("a", "b", "c")
JUDGES = ("anna", "bela", "carl")
FORMAT = Format(width=64, height=48, frame_rate=8.0, num_frames=16, fit="crop")


def settings_of(**changes) -> StudySettings:
    systems = tuple(SystemSettings(name=name, videos="x") for name in SYSTEMS)
    adaptive = AdaptiveSettings(first_share=0.3, round_share=0.2)
    return StudySettings(**{"name": "s", "systems": systems, "judges": 3, "adaptive": adaptive, **changes})


def study_of(workspace: Workspace, settings: StudySettings, num_prompts: int = 40) -> Study:
    """All videos are there, the first round is dealt; the secret is the same every time."""
    workspace.write_bytes(b"5" * 64, "study", settings.name, "secret")
    study = keep(with_prompts(open_study(workspace, settings), prompts_of(num_prompts)), FORMAT)
    videos = tuple(video(system, prompt.prompt_id) for prompt in study.prompts for system in SYSTEMS)
    workspace.table("study_videos").append("s", videos)
    study = replace(study, videos=videos)
    return study.with_items(first_items(settings, study.prompts, videos, study.secret, judges=JUDGES))


def answered(study: Study, share: float = 1.0) -> Study:
    """The crowd has answered so much of what waits."""
    done = {row.item_key for row in study.answers}
    waiting = [(item, item.judge) for item in study.items if item.item_key not in done]
    crowd = crowd_for(study.videos, JUDGES, 0)
    return study.with_answers(answers_to(crowd, study.videos, waiting[: round(share * len(waiting))]))


def test_rounds_follow_until_the_ranking_is_known_and_no_question_is_asked_twice(tmp_path):
    study, rounds = answered(study_of(Workspace(str(tmp_path)), settings_of())), []
    while True:
        new, said = next_round(study, JUDGES)
        if not new:
            break
        rounds.append(Counter(item.kind for item in new))
        study = answered(study.with_items(new))
    assert said.endswith("; finished") and any(ItemKind.ADAPTIVE in kinds for kinds in rounds)
    questions = asked(study.items, study.videos)
    assert len(set(questions)) == len(questions) <= 3 * 40
    assert any(ItemKind.REPEAT in kinds for kinds in rounds)
    assert open_study(study.workspace, study.settings).items == tuple(
        sorted(study.items, key=lambda item: item.item_key)
    )


def test_the_next_round_waits_for_nearly_all_answers_and_is_the_same_when_asked_again(tmp_path):
    study = study_of(Workspace(str(tmp_path)), settings_of())
    half = answered(study, 0.5)
    new, said = next_round(half, JUDGES)
    assert "of what was asked is answered" in said and "comparisons asked" not in said
    assert {item.kind for item in new} <= {ItemKind.REPEAT}
    forced, _ = next_round(half, JUDGES, go_on=True)
    assert {item.kind for item in forced} & {ItemKind.ADAPTIVE}
    full = answered(study)
    assert next_round(full, JUDGES) == next_round(open_study(study.workspace, study.settings), JUDGES)


def test_without_adaptive_rounds_everything_is_asked_at_once_and_only_repeats_follow(tmp_path):
    settings = settings_of(design=Design.ABSOLUTE, checks=CheckSettings(repeat_share=0.2))
    study = study_of(Workspace(str(tmp_path)), settings, num_prompts=20)
    assert Counter(item.kind for item in study.items) == {ItemKind.RANDOM: 60}
    study = answered(study)
    new, said = next_round(study, JUDGES)
    assert {item.kind for item in new} == {ItemKind.REPEAT} and "0 questions are left" in said
    assert next_round(answered(study.with_items(new)), JUDGES)[0] == []


def test_a_video_that_came_later_is_asked_about_where_rounds_are_not_adaptive(tmp_path):
    settings = settings_of(design=Design.ABSOLUTE, checks=CheckSettings(repeat_share=0))
    study = answered(study_of(Workspace(str(tmp_path)), settings, num_prompts=6))
    prompts = prompts_of(7)
    later = replace(study, prompts=tuple(prompts), videos=(*study.videos, video("a", prompts[-1].prompt_id)))
    new, _ = next_round(later, JUDGES)
    assert [(item.prompt_id, item.media_a) for item in new] == [("p0006", "a.p0006")]


def context(folder: Path, **arguments) -> Context:
    """Two systems, three prompts: one video of the second is sound alone, one is missing."""
    (folder / "prompts.csv").write_text("prompt_id,prompt,motion\n1,a\u00a0cat,low\n2,a boat,high\n3,a tree,low\n")
    systems = tuple(SystemSettings(name=name, videos=str(folder / name)) for name in ("ours", "theirs"))
    study = StudySettings(
        prompts=str(folder / "prompts.csv"), systems=systems, normalise=NormaliseSettings(height=48, min_height=16)
    )
    args = {"action": "create", "every": 0.0, "simulate": False, "go_on": False, "stop_server": False, **arguments}
    recipe = Recipe(
        study=study, engine=EngineSettings(memory_gib_per_worker=0.3), annotation=AnnotationSettings(reviewers="team")
    )
    return Context(recipe, Workspace(str(folder / "ws")), argparse.Namespace(**args))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_every_prompt_of_every_system_is_a_video_or_a_failure_and_the_sum_is_said(tmp_path, capsys):
    for name, size in (("ours", (128, 96)), ("theirs", (160, 120))):
        for number in (1, 2):
            moving_texture(tmp_path / name / f"{number}.mp4", seconds=0.5, size=size, seed=number)
    moving_texture(tmp_path / "ours/3.mp4", seconds=0.5, size=(128, 96))
    moving_texture(tmp_path / "ours/stranger.mp4", seconds=0.5, size=(128, 96))
    (tmp_path / "theirs/2.mp4").unlink()
    audio_only(tmp_path / "theirs/2.mp4")
    asking = context(tmp_path)
    study, code = prepare(asking)
    said = capsys.readouterr().out
    assert code == 0
    assert "study: 6 videos = 4 results + 2 failures (1 missing, 1 no video stream) + 0 pending" in said
    assert "study: ours has 1 videos of no prompt, such as " in said
    assert "study: theirs: 1 of 3 videos; 1 missing, 1 no video stream" in said
    assert "study: ours and theirs: 1 of 3 prompts can be judged" in said
    assert {(row.system, row.prompt_id) for row in study.videos} == {
        ("ours", "1"), ("ours", "2"), ("ours", "3"), ("theirs", "1"),
    }  # fmt: skip
    moving_texture(tmp_path / "theirs/3.mp4", seconds=0.5, size=(160, 120), seed=3)
    again, _ = prepare(asking)
    assert "6 videos = 5 results + 1 failures (1 no video stream)" in capsys.readouterr().out
    assert set(study.videos) < set(again.videos), "what was shown before is what it was"


def test_what_makes_no_study_is_refused(tmp_path):
    asking = context(tmp_path)
    alone = asking.recipe.model_copy(update={"study": StudySettings()})
    with pytest.raises(UserError, match=r"study\.systems names 0; a pairwise study needs more"):
        run(replace(asking, recipe=alone))
    with pytest.raises(UserError, match=r"annotation\.reviewers is 'team': simulated answers would mix"):
        run(context(tmp_path, action="collect", simulate=True))
    with pytest.raises(UserError, match="--go-on asks one round more, and --every would do so every time"):
        run(context(tmp_path, action="collect", every=60, go_on=True))


def test_collecting_where_nothing_was_asked_starts_no_server(tmp_path, capsys):
    assert run(context(tmp_path, action="collect")) == 0
    assert "nothing was asked in study study; `dailies study create` asks" in capsys.readouterr().out
    assert not (tmp_path / "ws/label_studio").exists()
