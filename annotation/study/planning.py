"""How large a study must be, before it starts; and how many more answers would settle what it left open.

    PlanSettings + Size --expected Spread--> Forecast: half-widths, answers, hours
                 wanted half-width --------> Needs: prompts, judges or answers, each with the others as they are
    a difference and its Spread -----------> Remaining: settled, or so many answers, or so many judges

One answer's variance s2 is p (1 - p) for pass or fail, and 1 - t for win, tie or loss between equals (t: share of
ties). Of it, judges of the same video share `agreement` (alpha) and a judge's answers share g, that is `judge_share`
(severity) or in the pairwise design, where severity cancels, `taste_share`. So with P prompts, J judges and a answers
per question a rate or a net win rate has the variance

    s2 [ agreement / P  +  g / J  +  (1 - agreement - g) / (P a) ]

and a difference of two rates, which both see the same prompts and judges, 2 s2 [ (agreement - prompt_share) / P
+ (1 - agreement - g) / (P a) ]. What this says of judges is the second term: no number of prompts or answers
takes it away. What it says of answers is the third: a second answer about the same video helps less than another
prompt. Half-widths are those that the study itself would print (annotation/study/intervals.py): of planted studies
they are within 5% (tests/annotation/study/test_planning.py).

After the study, an interval shrinks with the root of the answers, but for the judges' part. To come out settled in four
of five cases takes an interval 1.43 times narrower than one that just excludes 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from annotation.study.axes import Design
from annotation.study.intervals import FEWEST_JUDGES, Interval, Spread
from annotation.study.settings import PlanSettings

FOUR_OF_FIVE = 0.84  # standard normal quantile of 0.8
MOST = 1 << 20  # prompts, judges or answers that anybody would plan for


@dataclass(frozen=True)
class Size:
    """Of a study."""

    design: Design
    systems: int
    prompts: int
    judges: int
    answers_wanted: int = 1  # of different judges per question

    @property
    def questions(self) -> int:
        """Videos, or pairs of videos with the same prompt."""
        if self.design is Design.ABSOLUTE:
            return self.systems * self.prompts
        return self.systems * (self.systems - 1) // 2 * self.prompts

    @property
    def answers(self) -> int:
        return self.questions * self.answers_wanted


@dataclass(frozen=True)
class Forecast:
    """What a study of this size tells, by 95% intervals; checks of judges are not counted among the answers."""

    size: Size
    rate: float  # half-width of a system's rate, or of a pair's net win rate
    difference: float  # of the difference of two systems' rates; in the pairwise design the same as `rate`
    found: float  # the difference that comes out settled in four of five studies
    hours_per_judge: float
    over_judges: bool  # else an interval is of these judges alone

    @property
    def words(self) -> str:
        size = self.size
        of = "judges in general" if self.over_judges else f"these judges alone (fewer than {FEWEST_JUDGES})"
        return (
            f"{size.systems} systems x {size.prompts} prompts, {size.questions} questions x {size.answers_wanted} "
            f"answers = {size.answers} by {size.judges} judges, {self.hours_per_judge:.1f} hours each; a difference is "
            f"known to within {self.difference:.3f}, and one of {self.found:.3f} is settled in 4 of 5 studies, of {of}"
        )


@dataclass(frozen=True)
class Needs:
    """The smallest numbers that give the wanted half-width, each with the others as planned; None: none does."""

    half_width: float
    prompts: int | None
    judges: int | None
    answers_wanted: int | None


class State(StrEnum):
    """What is known of a difference, and what would settle it."""

    SETTLED = "settled"
    NEGLIGIBLE = "negligible"
    ANSWERS = "more answers"
    JUDGES = "more judges"
    NEVER = "no number of answers"


@dataclass(frozen=True)
class Remaining:
    """What one difference still needs if it stays as it is. `times` as many answers, or judges, as there are."""

    state: State
    times: float
    answers: int  # more than there are

    @property
    def words(self) -> str:
        if self.state in (State.SETTLED, State.NEGLIGIBLE):
            return self.state.value
        if self.state is State.NEVER:
            return "the two are equal as far as can be told: no number of answers is worth naming"
        if self.state is State.ANSWERS:
            return f"about {self.answers} more answers ({self.times:.1f} times as many) on further prompts"
        return (
            f"{self.times:.1f} times as many judges, with about {self.answers} more answers; more prompts for the same "
            "judges would not settle it, as it is the judges who differ"
        )


def forecast(size: Size, settings: PlanSettings) -> Forecast:
    """What a study of this size would tell."""
    rate, difference = (_half_width(size, settings, of_difference) for of_difference in (False, True))
    spread = _spread(size, settings, of_difference=True)
    return Forecast(
        size,
        rate,
        difference,
        found=(spread.quantile() + FOUR_OF_FIVE) * math.sqrt(spread.variance),
        hours_per_judge=size.answers * settings.seconds_per_answer / size.judges / 3600,
        over_judges=size.judges >= FEWEST_JUDGES,
    )


def needs(size: Size, settings: PlanSettings) -> Needs:
    """How many prompts, judges or answers bring differences to the wanted half-width."""

    def enough(**changed: int) -> bool:
        return _half_width(replace(size, **changed), settings, of_difference=True) <= settings.half_width

    return Needs(
        settings.half_width,
        prompts=_least(lambda number: enough(prompts=number), 2),
        judges=_least(lambda number: enough(judges=number), FEWEST_JUDGES),
        answers_wanted=_least(lambda number: enough(answers_wanted=number), 1),
    )


def remaining(
    interval: Interval, spread: Spread, answers: int, negligible: float = 0.0, confidence: float = 0.95
) -> Remaining:
    """What a difference of rates or a net win rate still needs.

    Args:
        answers: that it rests on.
        negligible: a difference that nobody needs to have settled; an interval within it is.
    """
    if interval.excludes_zero:
        return Remaining(State.SETTLED, 1.0, 0)
    if max(abs(interval.low), abs(interval.high)) <= negligible:
        return Remaining(State.NEGLIGIBLE, 1.0, 0)
    distance = max(abs(interval.value), negligible - abs(interval.value))
    if not distance > 0 or not math.isfinite(spread.variance):
        return Remaining(State.NEVER, math.inf, 0)
    allowed = (distance / (spread.quantile(confidence) + FOUR_OF_FIVE)) ** 2
    by_answers = (spread.variance - spread.of_judges) / (allowed - spread.of_judges)
    if allowed > spread.of_judges and by_answers <= MOST:
        times, state = max(by_answers, 1.0), State.ANSWERS
    else:
        times, state = max(spread.variance / allowed, 1.0), State.JUDGES
    if times > MOST:
        return Remaining(State.NEVER, math.inf, 0)
    return Remaining(state, times, math.ceil(answers * (times - 1)))


def _half_width(size: Size, settings: PlanSettings, of_difference: bool) -> float:
    spread = _spread(size, settings, of_difference)
    if of_difference or size.design is Design.PAIRWISE:
        return spread.around(0.0).half_width
    return spread.share(settings.rate, size.prompts).half_width


def _spread(size: Size, settings: PlanSettings, of_difference: bool) -> Spread:
    """What the study would find of one rate or net win rate, or of a difference of rates."""
    pairwise = size.design is Design.PAIRWISE
    of_answer = 1 - settings.tie_share if pairwise else settings.rate * (1 - settings.rate)
    answers = size.prompts * size.answers_wanted
    of_judge = settings.taste_share if pairwise else settings.judge_share
    shared, severity, sides = settings.agreement, of_judge / size.judges, 1
    if of_difference and not pairwise:
        shared, severity, sides = settings.agreement - settings.prompt_share, 0.0, 2
    within = of_answer * sides / answers
    over_prompts = of_answer * sides * (shared / size.prompts + (1 - settings.agreement) / answers)
    over_judges = of_answer * sides * (severity + (1 - of_judge) / answers)
    return Spread.made_of(over_prompts, over_judges, within, size.prompts, size.judges)


def _least(enough: Callable[[int], bool], smallest: int) -> int | None:
    """The smallest number that is enough, where more is never worse; None where MOST is not."""
    if not enough(MOST):
        return None
    low, high = smallest - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
