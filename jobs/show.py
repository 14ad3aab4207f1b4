"""One scorer on one clip, with what it saw as a picture: `dailies score --scorer motion --clip ID --show`.

The picture goes to `show/<clip id>-<scorer>.png` of the workspace; the tables are not touched.
"""

from typing import TYPE_CHECKING

import numpy as np

from curation.drawing import captioned, png, sheet, spread
from curation.records import UserError
from curation.score import ScoreSettings, load_judges, watch_clips
from curation.scorer import Answer, ClipFrames, scorer_class
from curation.source import UnreadableVideo
from jobs.lineage import find_clip

if TYPE_CHECKING:
    from jobs.config import Context

FOLDER = "show"


def show(context: "Context", scorer_name: str, clip_id: str, with_picture: bool) -> None:
    """Score the clip, print the answer and what it means, and write the picture if it is wanted.

    Raises:
        UserError: no such scorer or clip, weights are missing, or the clip's source does not decode.
    """
    clip = find_clip(context.workspace, clip_id)
    kind, settings = scorer_class(scorer_name), context.recipe.score
    alone = ScoreSettings.model_validate(settings.model_dump() | {"scorers": (scorer_name,), "embedders": ()})
    judges = load_judges(alone)
    scorer = judges.scorers[scorer_name]
    ((_, watched),) = watch_clips(clip.uri, [clip], judges.specs)
    if isinstance(watched, UnreadableVideo):
        raise UserError(f"clip {clip.clip_id} cannot be looked at: {watched}")
    crop, frames = judges.look(clip.clip_id, watched.frames, watched.about)
    seen = frames[scorer.frames]
    draw = scorer.draw
    try:
        answer = scorer(seen)
    except Exception as error:  # what the scorer cannot tell is its answer, as in a run
        print(f"{scorer_name} has no answer: {type(error).__name__}: {error}")
        draw = _frames
    else:
        said = f"{answer.label} ({answer.value:.3f})" if isinstance(answer, Answer) else f"{answer:.4g}"
        print(f"{scorer_name} {said}")
    print(f"  {kind.unit}, {kind.direction}, usually {kind.low:g} to {kind.high:g}")
    print(f"  clip {clip.clip_id}: {clip.uri} from {clip.start_s:.2f} to {clip.end_s:.2f} s, {len(seen.luma)} frames")
    if crop.reason:
        print(f"  cropped to {crop.width}x{crop.height} of {clip.width}x{clip.height} px ({crop.reason})")
    print(f"  version {judges.versions[scorer_name]}")
    if with_picture:
        name = f"{clip.clip_id}-{scorer_name}.png"
        context.workspace.write_bytes(png(draw(seen)), FOLDER, name)
        print(f"  picture: {context.workspace.path(FOLDER, name)}")


def _frames(seen: ClipFrames) -> np.ndarray:
    """The bare frames, where the scorer has nothing to draw as it could not answer."""
    pictures = seen.luma if seen.bgr is None else seen.bgr
    return sheet([captioned(pictures[index], f"{seen.times_s[index]:.2f} s") for index in spread(len(pictures), 8)])
