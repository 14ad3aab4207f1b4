"""Which comparisons to ask next, so that people's time goes where the ranking is in doubt, and when to stop.

    first random share --answers--> strengths of the systems --pairs in doubt--> next round --answers--> ... finished

As in T2VHE (arXiv 2406.08845), a balanced random share comes first, then rounds of the pairs whose order is not known.
A round's questions go to these pairs in proportion to the chance that asking what is left would settle them, and of
each pair to the prompts that were asked least so far. Two systems that are next to each other in the ranking are

    settled      their strengths differ by more standard errors than looking after every round lets chance reach
    negligible   whatever lies within that many standard errors is a net win rate nobody needs to tell from 0
    too close    neither, and asking all that is left would hardly settle them: more prompts or judges may
    open         otherwise

and the study is finished when none is open or `most_share` is asked. Looking often finds differences that are
not there (24 of 100 studies of equals pass 1.96 standard errors at one of 19 looks), so the number of standard errors
is Pocock's (1977) for the planned number of looks, 2.66 there. What the report prints are ordinary intervals of all
answers; after stopping by this rule they still hold the truth as often as they say (tests/bench/study_crowd.py).

The chance to settle is predictive (Spiegelhalter, Freedman, Blackburn 1986): where a share f of a pair's questions is
answered and the difference is d with standard error e, that of all answers is normal around d with variance
e^2 (1 - f), and its standard error e sqrt(f).

Everything is a function of rows, settings and the study's secret: the same command after a crash asks the same.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from annotation.study.axes import OVERALL
from annotation.study.dealing import ORDINARY, Question, asked, questions
from annotation.study.settings import AdaptiveSettings, StudySettings
from annotation.study.tied_strengths import Strengths, all_pairs, strengths
from annotation.study.votes import PairVotes
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo

HARDLY = 0.05  # chance to settle two systems below which nobody is asked about them again
PATHS = 40_000  # simulated studies behind a number of standard errors; it is right to 0.01


class State(StrEnum):
    """What is known of the order of two systems."""

    SETTLED = "settled"
    NEGLIGIBLE = "negligible"
    TOO_CLOSE = "too close"
    OPEN = "open"


@dataclass(frozen=True)
class Doubt:
    """Two systems, the stronger first, as far as answers say."""

    stronger: str
    weaker: str
    adjacent: bool  # in the ranking
    standard_errors: float  # by which their strengths differ
    net: float  # net win rate the model expects
    net_error: float  # one standard error of it
    unasked: int  # questions of this pair that are left
    chance_to_settle: float  # by asking them all
    state: State


@dataclass(frozen=True)
class Choice:
    """The next round, and why there is one or none."""

    questions: tuple[Question, ...]
    doubts: tuple[Doubt, ...]  # of all pairs, adjacent ones first, in order of the ranking
    asked: int
    possible: int  # questions that the videos allow
    finished: bool
    reason: str


def choose(
    settings: StudySettings,
    prompts: Sequence[StudyPrompt],
    videos: Sequence[StudyVideo],
    items: Sequence[StudyItem],
    votes: PairVotes,
    secret: bytes,
) -> Choice:
    """The questions of the next round, none where the study is finished or too little is answered to say.

    Args:
        items: all asked so far. votes: what was answered to them, without judges who are left out.
    """
    known = {prompt.prompt_id for prompt in prompts}
    every = questions([video for video in videos if video.prompt_id in known], settings, secret)
    before = asked(items, videos)
    done = set(before)
    left: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in every:
        if question not in done:
            left[question.pair].append(question)
    if len(np.unique(votes.prompt_N)) < 2:
        return Choice((), (), len(done), len(every), False, "too few answers to compare the systems")
    unasked = {pair: len(some) for pair, some in left.items()}
    possible = Counter(question.pair for question in every)
    found = strengths(votes, OVERALL, settings.bootstraps, settings.seed)
    doubts = doubts_of(found, possible, unasked, settings.adaptive)
    most = round(settings.adaptive.most_share * len(every)) - len(done)
    reason = _reason(doubts, most)
    if reason:
        return Choice((), tuple(doubts), len(done), len(every), True, reason)
    number = min(most, max(1, round(settings.adaptive.round_share * len(every))))
    times = Counter(question.prompt_id for question in before)
    chosen: list[Question] = []
    for doubt, share in shared_out(doubts, number):
        pair = (min(doubt.stronger, doubt.weaker), max(doubt.stronger, doubt.weaker))
        taken = sorted(left[pair], key=lambda question: times[question.prompt_id])[:share]
        times.update(question.prompt_id for question in taken)
        chosen += taken
    in_doubt = sum(doubt.adjacent and doubt.state is State.OPEN for doubt in doubts)
    return Choice(
        tuple(chosen), tuple(doubts), len(done), len(every), False, f"{in_doubt} neighbours in the ranking in doubt"
    )


def doubts_of(
    found: Strengths,
    possible: Mapping[tuple[str, str], int],
    unasked: Mapping[tuple[str, str], int],
    settings: AdaptiveSettings,
) -> list[Doubt]:
    """What is known of every pair, adjacent ones first.

    Args:
        possible: (system, system) with names in order -> questions there are.
        unasked: of these, how many are left; none where it is not in there.
    """
    quantile = peeking_quantile(settings.confidence, looks(settings))
    order = np.argsort(-found.fitted.log_strength_BC[0], kind="stable")
    doubts = []
    for high, low in all_pairs(len(order)).tolist():
        stronger, weaker = int(order[high]), int(order[low])
        names = found.systems[stronger], found.systems[weaker]
        pair = (min(names), max(names))
        errors, net = _in_errors(found.differences(stronger, weaker)), found.net_wins(stronger, weaker)
        net_error, left = float(net[1:].std()), unasked.get(pair, 0)
        chance = chance_to_settle(errors, 1 - left / max(possible.get(pair, 0), 1), quantile)
        state = State.OPEN if left and chance >= HARDLY else State.TOO_CLOSE
        if errors > quantile:
            state = State.SETTLED
        elif abs(float(net[0])) + quantile * net_error <= settings.negligible:
            state = State.NEGLIGIBLE
        doubts.append(Doubt(*names, low == high + 1, errors, float(net[0]), net_error, left, chance, state))
    return sorted(doubts, key=lambda doubt: not doubt.adjacent)


def chance_to_settle(standard_errors: float, answered: float, quantile: float) -> float:
    """That a difference of so many standard errors passes the quantile when all is answered, not just this share."""
    if answered >= 1:
        return float(abs(standard_errors) > quantile)
    expected = NormalDist(standard_errors, math.sqrt(1 - answered))
    wanted = quantile * math.sqrt(answered)
    return 1 - expected.cdf(wanted) + expected.cdf(-wanted)


def shared_out(doubts: Sequence[Doubt], number: int) -> list[tuple[Doubt, int]]:
    """So many questions given to the open pairs by the chance to settle them, none more than it has left."""
    room = {place: doubt.unasked for place, doubt in enumerate(doubts) if doubt.state is State.OPEN}
    given = dict.fromkeys(room, 0)
    while number and room:
        weight = {place: doubts[place].chance_to_settle for place in room}
        exact = {place: number * weight[place] / sum(weight.values()) for place in room}
        share = {place: min(math.floor(exact[place]), room[place]) for place in room}
        if not any(share.values()):
            share[max(exact, key=lambda place: exact[place])] = 1
        for place, some in share.items():
            given[place] += some
            room[place] -= some
            number -= some
        room = {place: some for place, some in room.items() if some}
    return [(doubts[place], some) for place, some in given.items() if some]


def looks(settings: AdaptiveSettings) -> int:
    """How often the answers are looked at if everything is asked."""
    return 1 + math.ceil(max(settings.most_share - settings.first_share, 0) / settings.round_share - 1e-9)


@lru_cache
def peeking_quantile(confidence: float, num_looks: int) -> float:
    """Standard errors that a study of equals stays within at all of so many evenly spaced looks, with this chance."""
    generator = np.random.default_rng(0)
    walked = np.cumsum(generator.standard_normal((PATHS, num_looks)), axis=1) / np.sqrt(np.arange(1, num_looks + 1))
    return float(np.quantile(np.abs(walked).max(1), confidence))


def answered_share(items: Sequence[StudyItem], answers: Sequence[StudyAnswer]) -> float:
    """Of the answers that the ordinary items want, how many are there; a round is worth following up near 1."""
    given = Counter(key for key, _ in {(row.item_key, row.judge) for row in answers if not row.skipped})
    wanted = [item for item in items if item.kind in ORDINARY]
    there = sum(min(given[item.item_key], item.answers_wanted) for item in wanted)
    return there / max(sum(item.answers_wanted for item in wanted), 1)


def _reason(doubts: Sequence[Doubt], most: int) -> str:
    """Why the study is finished; empty where it is not."""
    count = Counter(doubt.state for doubt in doubts if doubt.adjacent)
    if not count[State.OPEN]:
        return "of the neighbours in the ranking " + ", ".join(
            f"{count[state]} {state.value}" for state in State if count[state]
        )
    return "" if most > 0 else f"study.adaptive.most_share is asked, {count[State.OPEN]} neighbours are in doubt"


def _in_errors(difference_B: np.ndarray) -> float:
    error = float(difference_B[1:].std())
    return float(difference_B[0]) / error if error > 0 else 0.0
