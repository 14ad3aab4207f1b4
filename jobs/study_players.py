"""Which videos the study's page shows side by side, and their copies beside the page.

    votes, contests of neighbours in rank --most one-sided prompt each way--> Example --copy, poster--> Pane

For every two systems next to each other in rank: the prompt on which judges were most clearly for the better one, and
the one on which they were most clearly for the other. So the page shows what the ranking rests on and what speaks
against it, chosen by answers and not by anybody's eye.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotation.connection import MEDIA
from annotation.study.tasks import STUDY_FOLDER
from annotation.study.votes import PairVotes, PassVotes
from curation.study_records import StudyPrompt, StudyVideo
from curation.tables import Workspace
from jobs.report_media import media_of
from jobs.study_figures import Contest

TITLES = {
    "text_alignment": "text",
    "motion_quality": "motion",
    "visual_quality": "visual",
    "overall": "overall",
}
VIDEOS = "videos"  # folder beside the page


@dataclass(frozen=True)
class Pane:
    """One video as the page shows it, or why it cannot."""

    system: str
    said: str
    address: str = ""  # relative to the page
    poster: str = ""  # data URI
    width: int = 0
    height: int = 0
    missing: str = ""


@dataclass(frozen=True)
class Example:
    """Two systems' videos of one prompt and what judges said of them."""

    prompt_id: str
    preferred: str
    other: str
    said: Mapping[str, str]  # system -> of it


@dataclass(frozen=True)
class Exhibit:
    """An example with everything that plays."""

    title: str
    prompt: str
    shown: tuple[Pane, ...]


def examples(votes: PairVotes | PassVotes, contests: Sequence[Contest], number: int) -> list[Example]:
    """Up to `number`, from the contests in turn: what speaks most for the winner of each, and what most against it."""
    found = []
    for contest in contests:
        for one, other in ((contest.first, contest.second), (contest.second, contest.first)):
            own = _shares(votes, votes.systems.index(one), votes.systems.index(other))
            its = _shares(votes, votes.systems.index(other), votes.systems.index(one))
            asked_P = (own[1] > 0).any(1) & (its[1] > 0).any(1)
            leads_PA = own[0] / np.maximum(own[1], 1) - its[0] / np.maximum(its[1], 1)
            lead_P = np.where(asked_P, leads_PA.mean(1), -1.0)
            best = int(np.argmax(lead_P))
            if lead_P[best] > 0:
                verb = "won" if isinstance(votes, PairVotes) else "passed"
                said = {one: _said(verb, votes.axes, own, best), other: _said(verb, votes.axes, its, best)}
                found.append(Example(votes.prompts[best], one, other, said))
    return found[:number]


def _said(verb: str, axes: Sequence[str], shares: tuple[np.ndarray, np.ndarray], prompt: int) -> str:
    hits, tries = shares[0][prompt].tolist(), shares[1][prompt].tolist()
    return f"{verb} " + ", ".join(
        f"{TITLES[axis]} {hit} of {asked}" for axis, hit, asked in zip(axes, hits, tries, strict=True)
    )


def exhibits(
    workspace: Workspace,
    folder: Sequence[str],
    chosen: Sequence[Example],
    prompts: Mapping[str, StudyPrompt],
    videos: Sequence[StudyVideo],
) -> list[Exhibit]:
    """The examples ready to play, their videos copied into `folder`."""
    of_system = {(video.system, video.prompt_id): video for video in videos}
    return [
        Exhibit(
            f"{each.preferred} rather than {each.other}",
            prompts[each.prompt_id].prompt,
            tuple(
                _pane(workspace, folder, of_system[system, each.prompt_id], each.said[system])
                for system in (each.preferred, each.other)
            ),
        )
        for each in chosen
    ]


def _pane(workspace: Workspace, folder: Sequence[str], video: StudyVideo, said: str) -> Pane:
    source = (MEDIA, STUDY_FOLDER, f"{video.media_key}.mp4")
    if not workspace.exists(*source):
        return Pane(video.system, said, missing=f"{'/'.join(source)} is not in the workspace any more")
    data = workspace.read_bytes(*source)
    name = f"{video.media_key}.mp4"
    if not workspace.exists(*folder, VIDEOS, name):
        workspace.write_bytes(data, *folder, VIDEOS, name)
    media = media_of(data)
    return Pane(video.system, said, f"{VIDEOS}/{name}", media.poster, media.width, media.height)


def _shares(votes: PairVotes | PassVotes, system: int, against: int) -> tuple[np.ndarray, np.ndarray]:
    """How often the system won against the other, or passed, and of how many answers: int64 [P, A] each."""
    size = (len(votes.prompts), len(votes.axes))
    hits_PA, tries_PA = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if isinstance(votes, PairVotes):
        on_a = (votes.first_N == system) & (votes.second_N == against)
        asked_N = on_a | ((votes.first_N == against) & (votes.second_N == system))
        hit_NA, known_NA = votes.answer_NA == np.where(on_a, 0, 2)[:, None], votes.answer_NA >= 0
    else:
        asked_N = votes.system_N == system
        hit_NA, known_NA = votes.passed_NA == 1, votes.passed_NA >= 0
    np.add.at(hits_PA, votes.prompt_N[asked_N], hit_NA[asked_N])
    np.add.at(tries_PA, votes.prompt_N[asked_N], known_NA[asked_N])
    return hits_PA, tries_PA
