"""Generated videos whose order is known, as `generate`, a study and training leave them in a workspace."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from curation.study_records import StudyPrompt, StudyVideo
from curation.tables import Sample, Workspace
from curation.transcode import write_frames
from tests.curation.generated_footage import RATE_HZ, SIZE, flickering, panning, still

FILMS: Mapping[str, Sequence[np.ndarray]] = {
    "still": still(),
    "pan": panning(),
    "flicker": flickering(still()),
    "one frame": still()[:1],
}
WORDS = {name: f"a texture, {name}" for name in FILMS}


def add_samples(workspace: Workspace, checkpoint: str, names: Sequence[str]) -> None:
    """Rows and files of `generate`; "broken" is a file that gives no video."""
    rows = []
    for name in names:
        data = b"" if name == "broken" else write_frames(FILMS[name], RATE_HZ)
        sample_id = f"{checkpoint.replace('/', '-')}-{name}"
        workspace.write_bytes(data, "samples", f"{sample_id}.mp4")
        told = json.dumps({"width": SIZE[0], "height": SIZE[1], "steps": 2})
        uri = f"samples/{sample_id}.mp4"
        rows.append(Sample(sample_id, uri, WORDS.get(name, "a prompt"), 0, told, checkpoint))
    workspace.table("samples").append(checkpoint.replace("/", "-"), rows)


def add_study(workspace: Workspace, systems: Mapping[str, Sequence[str]]) -> None:
    """Shown videos of a study: system -> a film for each prompt, in order."""
    names = next(iter(systems.values()))
    prompts = [StudyPrompt("trial", f"p{index}", WORDS[name]) for index, name in enumerate(names)]
    workspace.table("study_prompts").append("trial", prompts)
    videos = []
    for system, shown in systems.items():
        for index, name in enumerate(shown):
            key = f"{system}{index}"
            workspace.write_bytes(write_frames(FILMS[name], RATE_HZ), "media", "study", f"{key}.mp4")
            facts = (f"/of/{system}.mp4", "0", "0", *SIZE, RATE_HZ, len(FILMS[name]))
            videos.append(StudyVideo("trial", key, system, f"p{index}", *facts))
    workspace.table("study_videos").append("trial", videos)
