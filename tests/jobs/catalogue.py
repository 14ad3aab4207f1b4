"""A small workspace for the verbs after `score`: real clips of a rendered film, with scores and captions as rows."""

import argparse
from pathlib import Path

from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Caption, Clip, Crop, Score
from curation.score import Answers, ScoreSettings, load_judges, score_clips, scorer_versions
from curation.split import SplitSettings, split_video
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.engine import EngineSettings
from jobs.pack import PackSettings, StageBuckets
from tests.footage import shots

SCORERS = ScoreSettings(scorers=("sharpness",))


def context_of(
    folder: Path, sharpness: list[float | None], num_shots: int = 4, people: bool = False, bar_px: int = 0
) -> Context:
    """One film of `num_shots` clips whose sharpness scores are given (None: that scorer failed), all captioned."""
    film = shots(folder / "film.mp4", num_shots=num_shots, bar_px=bar_px).path
    video, clips = split_video(str(film), SplitSettings())
    workspace = Workspace(str(folder / "ws"))
    version = scorer_versions(SCORERS)["sharpness"]
    workspace.table("clips").append("film", clips)
    workspace.table("videos").append("film", [video])
    scores = [
        Score(clip.clip_id, "sharpness", version, value, "no frames" if value is None else None)
        for clip, value in zip(clips, sharpness, strict=True)
    ]
    workspace.table("scores").append("film", scores)
    captions = [Caption(clip.clip_id, "draft:facts", "1", f"shot {index}") for index, clip in enumerate(clips)]
    workspace.table("captions").append("film", captions)
    rule = GateRule(scorer="sharpness", min=10, review_min=5)
    recipe = Recipe(
        engine=EngineSettings(memory_gib_per_worker=0.3),
        score=SCORERS,
        gates=GateSettings(stages={"video": StageGates(rules=(rule,), people=people)}),
        pack=PackSettings(
            stages={"video": StageBuckets(width=64, height=64, num_frames=9, frame_rate=8)}, clips_per_shard=3
        ),
    )
    return Context(recipe, workspace, argparse.Namespace())


def clips_in(context: Context) -> list[Clip]:
    """The film's clips in order of time."""
    return sorted(context.workspace.table("clips").records(), key=lambda clip: clip.start_pts)


def find_crops(context: Context) -> dict[str, Crop]:
    """Look at the clips as `score` does, add only their crops to the tables, and give them by clip id."""
    clips = clips_in(context)
    answers = [answer for _, answer in score_clips(clips[0].uri, clips, load_judges(context.recipe.score))]
    crops = {answer.crop.clip_id: answer.crop for answer in answers if isinstance(answer, Answers)}
    context.workspace.table("crops").append("film", crops.values())
    return crops
