"""`dailies draft`: the clips that need words get a model's, and a malformed draft is a failure and nothing else."""

import argparse
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from annotation.captions import BY_FACTS, DraftSettings
from annotation.drafting import Facts, best_draft
from annotation.project import CAMERA_MOVEMENTS, AnnotationSettings
from annotation.vision_models import DrafterSettings
from curation.catalogue import Catalogue, Column
from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Caption, Clip, Crop, Score, Span
from curation.score import ScoreSettings, scorer_versions
from curation.split import SplitSettings, split_video, splitter_version
from curation.tables import Workspace
from jobs.cli import main
from jobs.config import Context, Recipe
from jobs.draft import (
    DRAFTERS,
    DraftWorker,
    Shown,
    camera_movements,
    current_drafts,
    draft,
    draft_job,
    frames_of,
    wanted_clips,
)
from jobs.engine import EngineSettings, tally
from tests.annotation.chat_server import MODEL, chat, error, serving
from tests.annotation.tiny_vision import ANSWERS, coloured, make_model
from tests.footage import Encoding, write_video

SCORERS = ScoreSettings(scorers=("sharpness", "camera_movement"))
PROSE = "It is a blue wall, I think."
TITLE = "Walls  of\nLyon"


def walls(path: Path) -> list[Clip]:
    """A film of a red, a blue and again a red wall, 1.5 s each, and its clips in order of time.

    The clips are put down here, since the splitter drops pictures as blank as these.
    """
    grain = np.random.default_rng(0).integers(0, 24, (180, 320, 3), np.uint8)
    frames = [cv2.resize(coloured(channel, 1)[0], (320, 180)) for channel in (0, 2, 0) for _ in range(36)]
    write_video(path, (np.maximum(frame, grain) for frame in frames), Encoding(title=TITLE))
    video, _ = split_video(str(path), SplitSettings())
    third = video.end_pts // 3
    spans = [Span(start, start + third, video.time_base_num, video.time_base_den) for start in (0, third, 2 * third)]
    return [Clip.of(video, span, 36, splitter_version(SplitSettings())) for span in spans]


def context_of(folder: Path, drafter: DrafterSettings) -> Context:
    """The red wall is kept, the blue one goes to people, the second red one is rejected; a fourth clip lies beyond the
    end of the file and is kept."""
    clips = walls(folder / "walls.mp4")
    video, _ = split_video(clips[0].uri, SplitSettings())
    end = clips[-1].end_pts
    clips.append(dataclasses.replace(clips[0], clip_id="beyond", start_pts=3 * end, end_pts=4 * end))
    workspace, versions = Workspace(str(folder / "ws")), scorer_versions(SCORERS)
    workspace.table("clips").append("film", clips)
    workspace.table("videos").append("film", [video])
    rows = []
    for clip, sharpness, sure in zip(clips, (20.0, 7.0, 1.0, 20.0), (0.9, 0.4, 0.9, 0.9), strict=True):
        rows.append(Score(clip.clip_id, "sharpness", versions["sharpness"], sharpness, None))
        rows.append(Score(clip.clip_id, "camera_movement", versions["camera_movement"], sure, None, "zoom in"))
    workspace.table("scores").append("film", rows)
    recipe = Recipe(
        engine=EngineSettings(workers=1, memory_gib_per_worker=0.5),
        score=SCORERS,
        gates=GateSettings(stages={"video": StageGates(rules=(GateRule(scorer="sharpness", min=10, review_min=5),))}),
        annotation=AnnotationSettings(drafter=drafter, drafts=DraftSettings(use_title=False)),
    )
    return Context(recipe, workspace, argparse.Namespace(all=False))


def by_time(context: Context) -> list[Clip]:
    return sorted(context.workspace.table("clips").records(), key=lambda clip: clip.start_pts)


@pytest.fixture
def film(tmp_path: Path) -> Iterator[list[Clip]]:
    yield walls(tmp_path / "walls.mp4")


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_taught_model_drafts_what_it_sees_and_its_nonsense_is_a_failure_and_no_caption(tmp_path):
    model = make_model(tmp_path / "walls-vlm", "llava", (ANSWERS[0], PROSE))
    drafter = DrafterSettings(
        model=str(model), max_frames=2, short_side_px=28, max_new_tokens=120, batch=2, use_facts=False
    )
    context = context_of(tmp_path, drafter)
    first, second, rejected, beyond = by_time(context)
    done = draft(context)
    assert str(done) == (
        "draft: 3 clips = 1 results + 2 failures (1 malformed: no JSON, 1 no decodable frame) + 0 pending"
    )
    (caption,) = context.workspace.table("captions").records()
    assert (caption.clip_id, caption.by, caption.short) == (first.clip_id, "draft:walls-vlm", "A red wall.")
    assert caption.camera_movement == "static shot"
    failures = {row.input_id: row for row in context.workspace.table("failures").records()}
    assert failures.keys() == {second.clip_id, beyond.clip_id}
    assert failures[second.clip_id].job == "draft"
    assert failures[second.clip_id].detail == f"walls.mp4, 1.50-3.00 s: no whole JSON object. Given: {PROSE}"

    assert draft(context).new_results == 0
    assert draft(context, everything=True).results == 2
    drafted = {row.clip_id for row in context.workspace.table("captions").records()}
    assert drafted == {first.clip_id, rejected.clip_id}

    captions, version = current_drafts(context, [first.clip_id, second.clip_id])
    facts = Caption(first.clip_id, BY_FACTS, "1", "Street.")
    assert best_draft(facts, captions[first.clip_id], version) == caption
    assert best_draft(facts, captions[second.clip_id], version) is facts


def served(url: str, **settings) -> DrafterSettings:
    chosen = {"model": MODEL, "url": url, "max_frames": 2, "backoff_s": 0.0, "attempts": 2, **settings}
    return DrafterSettings.model_validate(chosen)


def test_a_worker_turns_every_clip_of_its_batch_into_a_row_or_a_failure(tmp_path, film):
    both = threading.Barrier(2, timeout=20)

    def answer(number: int, body: dict):
        if number < 2:
            both.wait()
            return chat(ANSWERS[0]) if "measured as" in body["messages"][0]["content"][-1]["text"] else chat(PROSE)
        return error(500, "tired")

    shown = [Shown(film[0], None, Facts("", "pan left")), Shown(film[1], None, Facts())]
    with serving(answer) as server:
        settings = served(server.url, batch=2)
        job = draft_job(shown, Workspace(str(tmp_path / "ws")), settings, "d1")
        (item,) = job.items
        outcome = job.make_worker()(item)
        (again,) = draft_job([Shown(film[2], None, Facts())], Workspace(str(tmp_path / "ws")), settings, "d1").items
        tired = DraftWorker(settings, "d1")(again)
    (row,) = outcome.rows["captions"]
    assert (row.clip_id, row.by) == (film[0].clip_id, f"draft:{MODEL}") and row.version.startswith("d1-")
    ((failed, reason, detail),) = outcome.failures
    assert (failed, reason) == (film[1].clip_id, "malformed: no JSON") and PROSE in detail
    ((_, reason, detail),) = tired.failures
    assert tired.rows["captions"] == [] and reason == "endpoint unavailable" and "walls.mp4, 3.00-4.50 s" in detail


def test_clips_that_a_stage_keeps_or_reviews_are_due_with_what_is_known_of_them(tmp_path):
    context = context_of(tmp_path, served("http://127.0.0.1:9"))
    first, second, rejected, beyond = by_time(context)
    due = {each.clip.clip_id: each.facts for each in wanted_clips(context)}
    assert due == {first.clip_id: Facts("", "zoom in"), second.clip_id: Facts(), beyond.clip_id: Facts("", "zoom in")}
    assert {each.clip.clip_id for each in wanted_clips(context, everything=True)} == {*due, rejected.clip_id}
    annotation = context.recipe.annotation.model_copy(update={"drafts": DraftSettings(min_camera_confidence=0.95)})
    told = Context(context.recipe.model_copy(update={"annotation": annotation}), context.workspace, context.args)
    assert {each.facts for each in wanted_clips(told)} == {Facts("Walls of Lyon", "")}
    silent = annotation.model_copy(update={"drafter": annotation.drafter.model_copy(update={"use_facts": False})})
    told = Context(context.recipe.model_copy(update={"annotation": silent}), context.workspace, context.args)
    assert {each.facts for each in wanted_clips(told)} == {Facts()}


def test_a_raised_retry_makes_failures_due_again_and_leaves_drafts_alone(tmp_path, film):
    workspace, settings = Workspace(str(tmp_path / "ws")), served("http://127.0.0.1:9", batch=3)
    shown = [Shown(clip, None, Facts()) for clip in film]
    job = draft_job(shown, workspace, settings, "d1")
    with serving(lambda number, body: chat(ANSWERS[0])) as server:
        (item,) = draft_job(shown[:2], workspace, served(server.url, batch=3), "d1").items
        workspace.table("captions").append("drafts", DraftWorker(served(server.url), "d1")(item).rows["captions"])
    again = draft_job(shown, workspace, settings.model_copy(update={"retry": 1}), "d1")
    assert job.digest != again.digest
    assert tally(again, workspace).results == 2
    assert tally(draft_job(shown, workspace, settings, "d2"), workspace).results == 0


def test_frames_are_spread_over_the_clip_and_no_larger_than_they_are(film):
    whole = dataclasses.replace(film[0], end_pts=film[2].end_pts, num_frames=108)

    def colours(**settings) -> list[int]:
        frames = frames_of(whole, None, DrafterSettings.model_validate({"short_side_px": 90, **settings}))
        assert frames.shape[1:] == (90, 160, 3)
        return [int(np.argmax(frame.mean(axis=(0, 1)))) for frame in frames]

    assert colours(max_frames=3) == [0, 2, 0]
    assert colours(max_frames=6) == [0, 0, 2, 2, 0, 0]
    assert colours(max_frames=8, fps=1 / 1.5) == [0, 2, 0]
    assert colours(max_frames=3, fps=25) == [0, 2, 0]
    assert len(frames_of(dataclasses.replace(whole, num_frames=2), None, DrafterSettings())) == 2
    assert frames_of(whole, None, DrafterSettings(short_side_px=4000, max_frames=1)).shape == (1, 180, 320, 3)
    crop = Crop(whole.clip_id, "1", 0, 40, 320, 100, "letterbox")
    assert frames_of(whole, crop, DrafterSettings(short_side_px=50, max_frames=1)).shape == (1, 50, 160, 3)


def test_the_scorers_classes_are_those_of_the_page_and_missing_ones_are_left_out():
    clip_ids, states = ["a", "b", "c"], np.ones(3, np.uint8)
    column = Column(np.array([0.9, 0.3, np.nan]), states, np.array([1, 0, -1], np.int16), ("pan left", "zoom in"))
    catalogue = Catalogue(pa.array(clip_ids), {"camera_movement": column})
    answers = camera_movements(catalogue, [*clip_ids, "unknown"])
    assert answers == {"a": ("zoom in", 0.9), "b": ("pan left", 0.3)}
    assert camera_movements(catalogue, ["b"]) == {"b": ("pan left", 0.3)}
    assert {movement for movement, _ in answers.values()} <= set(CAMERA_MOVEMENTS)
    assert camera_movements(Catalogue(pa.array(clip_ids), {}), clip_ids) == {}


def test_missing_weights_stop_the_run_before_any_work(tmp_path, capsys):
    recipe, workspace = tmp_path / "r.toml", tmp_path / "ws"
    recipe.write_text(f'[annotation.drafter]\nmodel = "{tmp_path}/nowhere"\n')
    assert main(["draft", "--recipe", str(recipe), "--workspace", str(workspace)]) == 2
    assert "dailies draft: draft cannot start:\n  - annotation.drafter.model is " in capsys.readouterr().err
    recipe.write_text('[annotation.drafter]\nmodel = "m"\nurl = "http://127.0.0.1:9"\ntimeout_s = 300\n')
    assert main(["draft", "--recipe", str(recipe), "--workspace", str(workspace)]) == 2
    assert "5 x timeout_s = 300 s, engine.item_time_limit_s = 900 s must be more" in capsys.readouterr().err
    recipe.write_text("")
    assert main(["draft", "--recipe", str(recipe), "--workspace", str(workspace)]) == 2
    assert "set annotation.drafter.model" in capsys.readouterr().err
    assert not {DRAFTERS, "captions", "gate_verdicts"} & {path.name for path in workspace.iterdir()}
