"""Which videos are found, and what the worker says of them; the engine is tested by itself."""

from dataclasses import replace

import pytest
import torch

from curation.score import ScoreSettings, watch_whole
from curation.scorer import ClipFrames, make_scorer
from curation.source import UnreadableVideo
from curation.tables import Workspace
from jobs.engine import Item, Outcome
from jobs.measure_films import Film, FilmWorker, film_job, film_scores, find_films
from jobs.measure_settings import MeasureSettings
from tests.curation.tiny_clip import tiny_options
from tests.jobs.measured import WORDS, add_samples, add_study
from tests.jobs.trained import TRAIN
from training.curriculum import CHECKPOINTS
from training.data import ClipLibrary
from training.samples import SampleWriter
from training.trained import find_trained, load_trained, newest_run

SCORES = film_scores(MeasureSettings(), ScoreSettings())


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    made = Workspace(str(tmp_path / "workspace"))
    add_samples(made, "run/video", ["still", "pan", "flicker", "broken"])
    return made


def measured(films: list[Film], worker: FilmWorker, workspace: Workspace) -> dict[str, Outcome]:
    """What the worker makes of each item of the job."""
    return {item.label: worker(item) for item in film_job(films, workspace, SCORES).items}


def test_samples_are_found_with_prompt_checkpoint_and_settings(workspace):
    films = find_films(workspace)
    assert [film.subject for film in films] == [f"run-video-{name}" for name in ("broken", "flicker", "pan", "still")]
    assert {(film.group, film.group_kind) for film in films} == {("run/video", "checkpoint")}
    assert films[2].prompt == WORDS["pan"] and ("steps", 2) in films[2].protocol


def test_videos_of_a_study_are_measured_as_judges_see_them(tmp_path):
    workspace = Workspace(str(tmp_path))
    add_study(workspace, {"ours": ["still", "pan"], "theirs": ["pan", "flicker"]})
    films = find_films(workspace)
    assert [(film.subject, film.group) for film in films] == [
        *(("ours0", "ours"), ("ours1", "ours"), ("theirs0", "theirs"), ("theirs1", "theirs"))
    ]
    assert films[1].uri.endswith("/media/study/ours1.mp4") and films[1].prompt == WORDS["pan"]
    assert len({film.protocol for film in films}) == 1, "systems of one study are compared"


def test_sample_videos_of_training_belong_to_their_checkpoint(trained_workspace):
    workspace, run_id = trained_workspace, newest_run(trained_workspace)
    torch.set_num_threads(1)
    networks = load_trained(workspace, find_trained(workspace, run_id))
    library = ClipLibrary(workspace, ["image"])
    settings = TRAIN.model_copy(update={"sample_prompts": ("a red disc", "a blue square"), "sample_steps": 1})
    place = (CHECKPOINTS, run_id, "image_256")
    writer = SampleWriter(
        workspace, place, settings, TRAIN.stages[1], library.clips["image"], networks.vae, networks.text.encode
    )
    written = writer.write(networks.dit, 2)
    films = [film for film in find_films(workspace) if film.group == f"{run_id}/image_256@2"]
    assert [film.subject for film in films] == written
    assert [film.prompt for film in films] == ["a red disc", "a blue square"]


def test_the_worker_ranks_still_moving_and_flickering_videos_as_they_are(workspace):
    films = [film for film in find_films(workspace) if not film.subject.endswith("broken")]
    rows = {
        label: {row.measure: row for row in outcome.rows["measurements"]}
        for label, outcome in measured(films, FilmWorker(SCORES), workspace).items()
    }
    still, pan, flicker = (rows[f"run-video-{name}"] for name in ("still", "pan", "flicker"))
    assert pan["dynamics"].value > 0.1875 > 0.05 > flicker["dynamics"].value >= still["dynamics"].value
    assert still["flicker"].value > 0.99 > flicker["flicker"].value
    assert flicker["warp_error"].value > 3 * pan["warp_error"].value >= 3 * still["warp_error"].value
    assert min(still["motion_smoothness"].value, pan["motion_smoothness"].value) > flicker["motion_smoothness"].value
    assert set(still) == set(MeasureSettings().scorers)
    assert '"size": "256x144"' in still["flicker"].protocol and '"frames": 17' in still["flicker"].protocol


def test_what_a_scorer_cannot_tell_is_a_row_without_value_that_says_why(tmp_path):
    workspace = Workspace(str(tmp_path))
    add_samples(workspace, "run/video", ["one frame"])
    (film,) = find_films(workspace)
    two = film_scores(MeasureSettings(scorers=("dynamics", "exposure")), ScoreSettings())
    (item,) = film_job([film], workspace, two).items
    dynamics, exposure = FilmWorker(two)(item).rows["measurements"]
    assert dynamics.value is None and "motion cannot be told" in dynamics.note
    assert exposure.value is not None and exposure.note == ""


def test_text_video_similarity_is_between_a_video_and_its_own_prompt(workspace, tmp_path):
    given = ScoreSettings(scorers=(), options={"image_text": tiny_options("image_text", tmp_path)})
    scores = film_scores(MeasureSettings(scorers=("image_text",)), given)
    film = next(film for film in find_films(workspace) if film.subject.endswith("pan"))
    worker, values = FilmWorker(scores), {}
    for prompt in (film.prompt, "people by night", ""):
        asked = Item(prompt, {film.subject: replace(film, prompt=prompt)}, ("image_text",))
        (row,) = worker(asked).rows["measurements"]
        values[prompt] = row.value
    scorer = make_scorer("image_text", given.options["image_text"])
    scorer.load()
    watched = watch_whole(film.uri, [scorer.frames], film.prompt)
    frames = ClipFrames.of(watched.frames[scorer.frames], scorer.frames, watched.about)
    assert values[film.prompt] == scorer(frames) != values["people by night"]
    assert values[""] is None, "a video without a prompt has no similarity to it"


def test_a_file_without_frames_is_a_failure(workspace):
    broken = next(film for film in find_films(workspace) if film.subject.endswith("broken"))
    with pytest.raises(UnreadableVideo, match="0 bytes"):
        FilmWorker(SCORES)(Item("broken", {broken.subject: broken}, SCORES.scorers))


def test_only_a_scorer_that_was_added_is_due(workspace):
    films = find_films(workspace)[2:]
    two = film_scores(MeasureSettings(scorers=("dynamics", "exposure")), ScoreSettings())
    job, worker = film_job(films, workspace, two), FilmWorker(two)
    rows = [row for item in job.items for row in worker(item).rows["measurements"]]
    assert job.finished() == set()
    workspace.table("measurements").append("part", rows)
    assert job.finished() == {film.subject for film in films}
    three = film_scores(MeasureSettings(scorers=("dynamics", "exposure", "sharpness")), ScoreSettings())
    assert film_job(films, workspace, three).finished() == set()
    assert {item.shared for item in film_job(films, workspace, three).items} == {("sharpness",)}


def test_options_of_curation_are_used_and_nothing_is_cut_off():
    given = ScoreSettings(scorers=("sharpness",), options={"dynamics": {"fps": 5.0}, "blur": {}})
    scores = film_scores(MeasureSettings(), given)
    assert scores.options == {"dynamics": {"fps": 5.0}} and not scores.crop.borders and scores.embedders == ()
