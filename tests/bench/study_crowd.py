"""Does a study find what is planted? 60 judges, 1,533 prompts, six systems, the rates HunyuanVideo's report prints.

    python -m tests.bench.study_crowd [--prompts 1533] [--judges 60] [--repetitions 200] [--studies 3] [--seed 0]

The crowd of `annotation/study/crowd.py` answers rows dealt by `annotation/study/dealing.py`, three judges by chance and
at everybody's pace, two with a leaning to one side; all of it then goes through the code that real answers go through:

    absolute   is each published rate in its interval, is the ranking the published one, are the careless found
    pairwise   the same with net win rates, whose truth is known in closed form; are the leaning found
    adaptive   rounds until nothing is in doubt: the same ranking, with how many of the answers? Rival: as many answers
               to questions drawn at random. Neighbours settled are those that 1.96 standard errors tell apart
    coverage   how many intervals of 95% hold the truth, over repetitions. Rival: intervals that take answers as
               independent (Wilson; for net win rates the normal one). Likewise after rounds that end by what was found

The same ranking: no two systems that the whole study tells apart (its 95% interval of their net win rate excludes 0)
are in the other order. The last line is JSON for programs.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotation.study.adaptive import Choice, State, choose, doubts_of
from annotation.study.axes import ALL_AXES, FAIL, OVERALL, PASS, A, B, Design
from annotation.study.crowd import HUNYUAN_TABLE, Crowd, Moments, answers_to, make_judges
from annotation.study.dealing import GoldQuestion, first_items, next_items, questions
from annotation.study.intervals import Interval, wilson
from annotation.study.judges import Judge, judges, left_out
from annotation.study.paired import Paired, paired
from annotation.study.rates import rates
from annotation.study.rows import given, pair_votes, pass_votes
from annotation.study.settings import AdaptiveSettings, CheckSettings, StudySettings
from annotation.study.tied_strengths import Strengths, all_pairs, strengths
from annotation.study.votes import PairVotes
from curation.records import content_id
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo

SECRET = b"of the simulated study"
CARELESS, LEANING = (5, 17, 31), {8: 0.35, 33: -0.35}
CLEAR_PAIR, CLEAR_SINGLE = 2.0, 1.2  # latent quality that two standard deviations of noise do not turn


@dataclass(frozen=True)
class Study:
    """A crowd with the rows of what it is asked about."""

    crowd: Crowd
    prompts: list[StudyPrompt]
    videos: list[StudyVideo]

    def answered(self, items: Sequence[StudyItem]) -> list[StudyAnswer]:
        return answers_to(self.crowd, self.videos, [(item, item.judge) for item in items])


@dataclass(frozen=True)
class Found:
    """What came out of one study."""

    covered: int  # of `figures`
    figures: int
    in_order: bool  # no two systems against the truth that the study claims to tell apart
    careless_found: int
    wrongly_left_out: int
    items: int
    cpu_s: float


def make_crowd(num_prompts: int, num_judges: int, seed: int) -> Crowd:
    """Nobody is caught for being fast: all have the same pace."""
    names = [f"simulated-{number:02}" for number in range(num_judges)]
    careless = [judge for judge in CARELESS if judge < num_judges]
    leaning = {judge: bias for judge, bias in LEANING.items() if judge < num_judges}
    made = make_judges(names, seed, careless, leaning)
    made = replace(made, seconds_J=np.full(num_judges, 14.0))
    return Crowd(HUNYUAN_TABLE, [f"p{number:04}" for number in range(num_prompts)], made, seed)


def make_study(num_prompts: int, num_judges: int, seed: int) -> Study:
    crowd = make_crowd(num_prompts, num_judges, seed)
    prompts = [StudyPrompt("study", prompt_id, "") for prompt_id in crowd.prompts]
    videos = [
        StudyVideo("study", content_id(system, prompt_id), system, prompt_id, "", "", "", 854, 480, 24.0, 120)
        for system in crowd.systems
        for prompt_id in crowd.prompts
    ]
    return Study(crowd, prompts, videos)


def settings_for(study: Study, design: Design, adaptive: bool, seed: int) -> StudySettings:
    return StudySettings(
        design=design,
        judges=len(study.crowd.judges.names),
        answers_wanted=2 if design is Design.ABSOLUTE else 1,
        adaptive=AdaptiveSettings(enabled=adaptive),
        seed=seed,
        checks=CheckSettings(gold_share=0.1 if design is Design.ABSOLUTE else 0.05),
    )


def make_gold(study: Study, settings: StudySettings, number: int = 60) -> list[GoldQuestion]:
    """Questions whose answer noise does not turn, on the axes where that is so."""
    crowd, gold = study.crowd, []
    place = {name: number for number, name in enumerate(crowd.systems)}
    prompt = {name: number for number, name in enumerate(crowd.prompts)}
    for question in questions(study.videos, settings, b"gold"):
        at = np.array([prompt[question.prompt_id]])
        clear, words = CLEAR_SINGLE, (PASS, FAIL)
        merit = crowd.quality(np.array([place[question.first]]), at)[0]
        if question.second:
            merit = merit - crowd.quality(np.array([place[question.second]]), at)[0]
            clear, words = CLEAR_PAIR, (A, B)
        axes = ALL_AXES if question.second else ALL_AXES[:3]
        expected = {
            axis: words[0] if value > 0 else words[1]
            for axis, value in zip(axes, merit.tolist(), strict=False)
            if abs(value) > clear
        }
        if len(expected) >= 2:
            gold.append(GoldQuestion(question, expected))
        if len(gold) == number:
            break
    return gold


def run_to_the_end(study: Study, settings: StudySettings) -> tuple[list[StudyItem], list[StudyAnswer]]:
    """Everything asked and answered, then the repeats."""
    names, gold = study.crowd.judges.names, make_gold(study, settings)
    items = first_items(settings, study.prompts, study.videos, SECRET, gold, names)
    answers = study.answered(items)
    again = next_items(settings, study.prompts, study.videos, items, answers, [], SECRET, gold, names)
    return items + again, answers + study.answered(again)


def absolute(study: Study, seed: int) -> Found:
    """The paper's study."""
    began = time.process_time()
    settings = settings_for(study, Design.ABSOLUTE, False, seed)
    items, answers = run_to_the_end(study, settings)
    people = judges(given(items, answers), settings.checks)
    table = rates(pass_votes(study.prompts, study.videos, items, answers, left_out(people)))
    truth = {(row.system, axis): getattr(row, axis) for row in HUNYUAN_TABLE for axis in ALL_AXES}
    covered = [_holds(rate.interval, truth[rate.system, rate.axis]) for rate in table.rates]
    for rate in table.rates:
        print(
            f"  {rate.axis:15} {rate.rank} {rate.system:13} {rate.interval}  published {truth[rate.system, rate.axis]}"
        )
    in_order = all(
        truth[each.first, each.axis] > truth[each.second, each.axis]
        for each in table.differences
        if each.settled_together
    )
    caught, wrongly = caught_of(people, study.crowd)
    return Found(sum(covered), len(covered), in_order, caught, wrongly, len(items), time.process_time() - began)


def pairwise(study: Study, seed: int) -> tuple[Found, Paired, list[str], list[Judge]]:
    """Every pair on every prompt."""
    began = time.process_time()
    settings = settings_for(study, Design.PAIRWISE, False, seed)
    items, answers = run_to_the_end(study, settings)
    people = judges(given(items, answers), settings.checks)
    votes = pair_votes(study.prompts, study.videos, items, answers, left_out(people))
    found, covered = paired(votes), []
    for axis in ALL_AXES:
        for pair in (found if axis == OVERALL else paired(votes, axis)).pairs:
            covered.append(_holds(pair.net, true_net(study.crowd, pair.first, pair.second, axis)))
            if axis == OVERALL:
                truth = true_net(study.crowd, pair.first, pair.second, axis)
                print(f"  {pair.first:13} over {pair.second:13} {pair.net}  truth {truth:.3f}")
    order = [place.system for place in strengths(votes).ranking]
    in_order = same_ranking([row.system for row in HUNYUAN_TABLE], found)
    caught, wrongly = caught_of(people, study.crowd)
    cpu_s = time.process_time() - began
    return Found(sum(covered), len(covered), in_order, caught, wrongly, len(items), cpu_s), found, order, people


@dataclass(frozen=True)
class Adaptive:
    """How far rounds came, and how far as many answers at random."""

    share: float  # of the answers of the whole study
    rounds: int
    order: list[str]
    settled: int  # neighbours
    order_at_random: list[str]
    settled_at_random: int
    cpu_s: float


@dataclass(frozen=True)
class Rounds:
    """Where rounds ended."""

    items: list[StudyItem]
    votes: PairVotes
    choice: Choice
    gold: list[GoldQuestion]
    out: tuple[str, ...]


def rounds_of(study: Study, settings: StudySettings) -> Rounds:
    """Rounds until nothing is in doubt."""
    names, gold = study.crowd.judges.names, make_gold(study, settings)
    items = first_items(settings, study.prompts, study.videos, SECRET, gold, names)
    answers = study.answered(items)
    while True:
        out = left_out(judges(given(items, answers), settings.checks))
        votes = pair_votes(study.prompts, study.videos, items, answers, out)
        choice = choose(settings, study.prompts, study.videos, items, votes, SECRET)
        if choice.finished:
            return Rounds(items, votes, choice, gold, out)
        new = next_items(settings, study.prompts, study.videos, items, answers, choice.questions, SECRET, gold, names)
        items, answers = items + new, answers + study.answered(new)


def adaptive(study: Study, seed: int) -> Adaptive:
    """Rounds; then, as a rival, as many questions at random."""
    began = time.process_time()
    settings = settings_for(study, Design.PAIRWISE, True, seed)
    ended = rounds_of(study, settings)
    ours, choice = strengths(ended.votes), ended.choice
    share, cpu_s = choice.asked / choice.possible, time.process_time() - began
    num_rounds = max(item.round for item in ended.items)
    print(f"  {choice.asked} of {choice.possible} questions, {num_rounds} rounds: {choice.reason}")
    once = settings.model_copy(update={"adaptive": AdaptiveSettings(first_share=share, most_share=share)})
    some = first_items(once, study.prompts, study.videos, SECRET, ended.gold, study.crowd.judges.names)
    rival = strengths(pair_votes(study.prompts, study.videos, some, study.answered(some), ended.out))
    return Adaptive(
        share,
        num_rounds,
        [place.system for place in ours.ranking],
        _settled(ours, once),
        [place.system for place in rival.ranking],
        _settled(rival, once),
        cpu_s,
    )


def _settled(found: Strengths, once: StudySettings) -> int:
    """Neighbours that 1.96 standard errors tell apart."""
    doubts = doubts_of(found, {}, {}, once.adaptive)
    return sum(doubt.state is State.SETTLED for doubt in doubts if doubt.adjacent)


def same_ranking(order: Sequence[str], whole: Paired) -> bool:
    """Whether no two systems that the whole study tells apart are in the other order."""
    return all(whole.net_of(one, other).high >= 0 for place, one in enumerate(order) for other in order[place + 1 :])


@dataclass
class Coverage:
    """How often intervals held the truth."""

    held: int = 0
    tries: int = 0

    def add(self, interval: Interval, truth: float) -> None:
        self.held, self.tries = self.held + _holds(interval, truth), self.tries + 1

    @property
    def share(self) -> float:
        return self.held / max(self.tries, 1)


def coverage(num_prompts: int, num_judges: int, repetitions: int, seed: int) -> dict[str, Coverage]:
    """New prompts, videos and judges each time; careless judges are left out as the rule would."""
    found = {
        name: Coverage()
        for name in ("rates", "rates as independent", "differences", "net wins", "net wins as independent", "standings")
    }
    for repetition in range(repetitions):
        crowd = make_crowd(num_prompts, num_judges, seed + 1000 + repetition)
        _cover_rates(crowd, found)
        _cover_net_wins(crowd, found)
    return found


def _cover_rates(crowd: Crowd, found: dict[str, Coverage]) -> None:
    generator = np.random.default_rng([crowd.seed, 7])
    system, prompt = (each.ravel() for each in np.indices((len(crowd.systems), len(crowd.prompts))))
    judge = _dealt(len(system), crowd, generator)
    votes = crowd.rate(system, prompt, judge, Moments.drawn(generator, len(system)))
    votes = votes.chosen(~crowd.judges.careless_J[judge])
    truth = {(row.system, axis): getattr(row, axis) for row in HUNYUAN_TABLE for axis in ALL_AXES}
    table = rates(votes)
    for rate in table.rates:
        found["rates"].add(rate.interval, truth[rate.system, rate.axis])
        naive = wilson(rate.interval.value * rate.answers, rate.answers)
        found["rates as independent"].add(naive, truth[rate.system, rate.axis])
    for each in table.differences:
        found["differences"].add(each.interval, truth[each.first, each.axis] - truth[each.second, each.axis])


def _cover_net_wins(crowd: Crowd, found: dict[str, Coverage]) -> None:
    generator = np.random.default_rng([crowd.seed, 8])
    pair, prompt = (each.ravel() for each in np.indices((len(all_pairs(len(crowd.systems))), len(crowd.prompts))))
    first, second = all_pairs(len(crowd.systems))[pair].T
    turned = generator.random(len(pair)) < 0.5
    judge = _dealt(len(pair), crowd, generator)
    moments = Moments.drawn(generator, len(pair))
    votes = crowd.compare(np.where(turned, second, first), np.where(turned, first, second), prompt, judge, moments)
    result = paired(votes.chosen(~crowd.judges.careless_J[judge]), num_bootstraps=100)
    for each in result.pairs:
        truth = true_net(crowd, each.first, each.second, OVERALL)
        found["net wins"].add(each.net, truth)
        decided = (each.wins + each.losses) / each.answers
        half = 1.96 * np.sqrt((decided - each.net.value**2) / each.answers)
        naive = Interval(each.net.value, each.net.value - half, each.net.value + half)
        found["net wins as independent"].add(naive, truth)
    for place in result.standings:
        others = [name for name in crowd.systems if name != place.system]
        truth = float(np.mean([true_net(crowd, place.system, other, OVERALL) for other in others]))
        found["standings"].add(place.net, truth)


def coverage_after_rounds(repetitions: int, seed: int, num_prompts: int = 200, num_judges: int = 12) -> Coverage:
    """Of the net win rates of small studies that ended when nothing was in doubt."""
    found = Coverage()
    for repetition in range(repetitions):
        study = make_study(num_prompts, num_judges, seed + 5000 + repetition)
        settings = settings_for(study, Design.PAIRWISE, True, seed).model_copy(update={"bootstraps": 200})
        for pair in paired(rounds_of(study, settings).votes, num_bootstraps=100).pairs:
            found.add(pair.net, true_net(study.crowd, pair.first, pair.second, OVERALL))
    return found


def _dealt(number: int, crowd: Crowd, generator: np.random.Generator) -> np.ndarray:
    return generator.permutation(number) % len(crowd.judges.names)


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def true_net(crowd: Crowd, first: str, second: str, axis: str) -> float:
    return crowd.net_win(crowd.systems.index(first), crowd.systems.index(second), axis)


def caught_of(people: Sequence[Judge], crowd: Crowd) -> tuple[int, int]:
    """How many careless judges are left out, and how many others."""
    careless = {name for name, flag in zip(crowd.judges.names, crowd.judges.careless_J, strict=True) if flag}
    out = set(left_out(people))
    for each in people:
        if (each.name in careless) != bool(each.failed):
            print(f"  {each.name} {'left out' if each.failed else 'careless, not left out'}: {each.failed}")
    return len(out & careless), len(out - careless)


def leaning_of(people: Sequence[Judge], crowd: Crowd) -> tuple[int, int]:
    """How many leaning judges have an interval of their share of A on their side of a half, and how many others."""
    bias = dict(zip(crowd.judges.names, crowd.judges.side_bias_J.tolist(), strict=True))
    seen = {each.name: (each.side_a.low > 0.5) - (each.side_a.high < 0.5) for each in people}
    right = sum(seen[name] * bias[name] > 0 for name in seen)
    return right, sum(seen[name] != 0 for name in seen if not bias[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, number in (("prompts", 1533), ("judges", 60), ("repetitions", 200), ("studies", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    args = parser.parse_args()
    began = time.process_time()
    report = {}
    for seed in range(args.seed, args.seed + args.studies):
        study = make_study(args.prompts, args.judges, seed)
        print(f"study {seed}")
        one = absolute(study, seed)
        two, whole, order, people = pairwise(study, seed)
        rounds = adaptive(study, seed)
        right, wrong = leaning_of(people, study.crowd)
        figures = {
            "rates_held": f"{one.covered} of {one.figures}",
            "net_wins_held": f"{two.covered} of {two.figures}",
            "nothing_claimed_against_the_truth": one.in_order and two.in_order,
            "careless_left_out": [one.careless_found, two.careless_found],
            "others_left_out": [one.wrongly_left_out, two.wrongly_left_out],
            "leaning_found": right,
            "others_seeming_to_lean": wrong,
            "adaptive_share_of_answers": round(rounds.share, 3),
            "adaptive_same_ranking": same_ranking(rounds.order, whole),
            "as_many_at_random_same_ranking": same_ranking(rounds.order_at_random, whole),
            "adaptive_in_the_order_of_the_whole": rounds.order == order,
            "neighbours_settled": {"adaptive": rounds.settled, "as many at random": rounds.settled_at_random},
            "cpu_s": [round(each.cpu_s, 1) for each in (one, two, rounds)],
        }
        print(f"  whole study {order}\n  adaptive    {rounds.order}\n  {figures}")
        report[f"study_{seed}"] = figures
    for name, held in coverage(args.prompts, args.judges, args.repetitions, args.seed).items():
        report[f"coverage, {name}"] = round(held.share, 4)
    report["coverage, net wins after rounds"] = round(coverage_after_rounds(args.repetitions // 10, args.seed).share, 4)
    report["cpu_s"] = round(time.process_time() - began, 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
