"""Which questions a study asks, on which side each video stands, and who is to answer.

    videos --questions--> every (prompt, pair), balanced order --first share--> RANDOM  --+
    adaptive.choose ------> the pairs and prompts of a round ----------------> ADAPTIVE --+--sides, keys, judge--> items
    share of them --------> one video on both sides, known answers ----------> IDENTICAL, GOLD
    what a judge answered --share, sides exchanged, for that judge alone-----> REPEAT

The order of `questions` is a Latin design: prompts in random order, and in layer l the i-th prompt meets pair
(i + shift_l) mod P. So every beginning of it, such as the first random share, holds each pair equally often and each
prompt equally often, to within one where no video is missing.

Sides are balanced over all rounds together, of every pair and of every system (annotation/study/sides.py).
Items come in the order of their keys. A key is an HMAC with the study's secret, and all chance is drawn from that
secret too, so neither the order nor a known `seed` tells anything. The same arguments give the same items.
22,995 items take 0.6 s.
"""

import hashlib
import hmac
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from annotation.assignment import assign
from annotation.study.axes import ALL_AXES, TIE, A, B, Design
from annotation.study.settings import StudySettings
from annotation.study.sides import balanced_sides
from curation.records import UserError, content_id
from curation.study_records import ItemKind, StudyAnswer, StudyItem, StudyPrompt, StudyVideo

ORDINARY = (ItemKind.RANDOM, ItemKind.ADAPTIVE)
EXCHANGED = {A: B, B: A}
KEY_HEX = 24  # 96 bits


@dataclass(frozen=True)
class Question:
    """One prompt and the systems whose videos are shown; `second` is empty where one is judged alone."""

    prompt_id: str
    first: str
    second: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        return self.first, self.second


@dataclass(frozen=True)
class GoldQuestion:
    """A question whose answers are known; A stands for `question.first`."""

    question: Question
    expected: Mapping[str, str] = field(default_factory=dict)  # axis -> answer


def questions(videos: Sequence[StudyVideo], settings: StudySettings, secret: bytes) -> list[Question]:
    """Every question the videos allow, each once, in balanced random order: pairs with the names in order, or singles.

    A pair is asked of the prompts of which both systems have a video.
    """
    systems = sorted({video.system for video in videos})
    shown: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        shown[video.prompt_id].add(video.system)
    if settings.design is Design.PAIRWISE:
        pairs = [(one, other) for place, one in enumerate(systems) for other in systems[place + 1 :]]
    else:
        pairs = [(system, "") for system in systems]
    generator = _chance(secret, settings, "order")
    prompts = [sorted(shown)[place] for place in generator.permutation(len(shown))]
    turned = [pairs[place] for place in generator.permutation(len(pairs))]
    return [
        Question(prompt_id, *pair)
        for shift in generator.permutation(len(pairs)).tolist()
        for place, prompt_id in enumerate(prompts)
        if shown[prompt_id].issuperset(filter(None, pair := turned[(place + shift) % len(pairs)]))
    ]


def first_items(
    settings: StudySettings,
    prompts: Sequence[StudyPrompt],
    videos: Sequence[StudyVideo],
    secret: bytes,
    gold: Sequence[GoldQuestion] = (),
    judges: Sequence[str] = (),
) -> list[StudyItem]:
    """The items of round 0: the first random share of an adaptive pairwise study, otherwise everything, and checks.

    Args:
        secret: of the study; kept in the workspace, drawn once.
        gold: questions with known answers, each asked of a judge at most once.
        judges: names to deal the items to, evenly; an item is then of one judge, and a question that wants several
            answers becomes several items. Empty: anybody answers, `answers_wanted` different judges each.

    Raises:
        UserError: there is nothing to ask, more answers are wanted than there are judges, or gold names no video.
    """
    videos = _of_prompts(videos, prompts)
    every = questions(videos, settings, secret)
    if not every:
        raise UserError(
            f"{len(videos)} videos of {len(prompts)} known prompts leave nothing to ask: a "
            f"{settings.design.value} study needs a prompt with a video of each system compared; "
            "see the failures of `study create`"
        )
    adaptive = settings.design is Design.PAIRWISE and settings.adaptive.enabled
    number = max(1, round(settings.adaptive.first_share * len(every))) if adaptive else len(every)
    return _Dealer(settings, videos, secret, (), judges).deal(ItemKind.RANDOM, every[:number], gold)


def next_items(
    settings: StudySettings,
    prompts: Sequence[StudyPrompt],
    videos: Sequence[StudyVideo],
    items: Sequence[StudyItem],
    answers: Sequence[StudyAnswer],
    chosen: Sequence[Question],
    secret: bytes,
    gold: Sequence[GoldQuestion] = (),
    judges: Sequence[str] = (),
) -> list[StudyItem]:
    """The items of the next round: the chosen questions with their checks, and repeats for judges who have answered.

    Args:
        items: all earlier ones. answers: all so far.
        chosen: of `adaptive.choose`; may be empty, then only repeats are added.
    """
    dealer = _Dealer(settings, _of_prompts(videos, prompts), secret, items, judges)
    dealt = dealer.deal(ItemKind.ADAPTIVE, chosen, gold) if chosen else []
    return sorted(dealt + dealer.repeats(answers), key=lambda item: item.item_key)


def asked(items: Sequence[StudyItem], videos: Sequence[StudyVideo]) -> list[Question]:
    """The questions of the ordinary items, with the names of a pair in order."""
    system = {video.media_key: video.system for video in videos}
    return [
        Question(item.prompt_id, *sorted(system[key] for key in (item.media_a, item.media_b) if key))
        for item in items
        if item.kind in ORDINARY
    ]


def _of_prompts(videos: Sequence[StudyVideo], prompts: Sequence[StudyPrompt]) -> list[StudyVideo]:
    known = {prompt.prompt_id for prompt in prompts}
    return [video for video in videos if video.prompt_id in known]


class _Dealer:
    """What a round is dealt from: the videos, the earlier items and the study's secret."""

    def __init__(
        self,
        settings: StudySettings,
        videos: Sequence[StudyVideo],
        secret: bytes,
        items: Sequence[StudyItem],
        judges: Sequence[str],
    ) -> None:
        if judges and settings.answers_wanted > len(set(judges)):
            raise UserError(
                f"study.answers_wanted is {settings.answers_wanted}, but there are {len(set(judges))} judges; "
                "name more judges or lower study.answers_wanted"
            )
        self.settings, self.videos, self.secret, self.items = settings, videos, secret, items
        self.judges = sorted(set(judges))
        self.media = {(video.system, video.prompt_id): video.media_key for video in videos}
        self.system = {video.media_key: video.system for video in videos}
        self.round = max((item.round for item in items), default=-1) + 1

    def deal(self, kind: ItemKind, chosen: Sequence[Question], gold: Sequence[GoldQuestion] = ()) -> list[StudyItem]:
        """Items of the chosen questions and their share of checks."""
        dealt = self._ordinary(kind, chosen)
        dealt += self._identical(len(dealt)) + self._gold(gold, sum(item.answers_wanted for item in dealt))
        return sorted(dealt, key=lambda item: item.item_key)

    def _ordinary(self, kind: ItemKind, chosen: Sequence[Question]) -> list[StudyItem]:
        ordered = sorted(chosen, key=lambda question: question.pair)  # stable: a pair's questions go round all judges
        entries = [(question, judge) for question, judge in self._judges_of(ordered)]
        exchanged = self._sides([question for question, _ in entries], ORDINARY)
        return [
            self._item(kind, question, turned, judge)
            for (question, judge), turned in zip(entries, exchanged, strict=True)
        ]

    def _judges_of(self, chosen: Sequence[Question]) -> Iterable[tuple[Question, str]]:
        """Each question with each judge who is to answer it; the least loaded come first."""
        if not self.judges:
            return [(question, "") for question in chosen]
        load = Counter(item.judge for item in self.items)
        wanted = np.full(len(chosen), self.settings.answers_wanted)
        seed = int(self._key("judges")[:8], 16)
        taken = assign(wanted, [None] * len(self.judges), seed, [load[judge] for judge in self.judges])
        return [
            (question, self.judges[person]) for question, people in zip(chosen, taken, strict=True) for person in people
        ]

    def _identical(self, number: int) -> list[StudyItem]:
        """One video on both sides, of all systems equally often."""
        if self.settings.design is Design.ABSOLUTE:
            return []
        wanted = round(self.settings.checks.identical_share * number)
        used = {item.media_a for item in self.items if item.kind == ItemKind.IDENTICAL}
        generator = self._chance("identical")
        by_system: dict[str, list[StudyVideo]] = defaultdict(list)
        for video in sorted(self.videos, key=lambda video: video.media_key):
            if video.media_key not in used:
                by_system[video.system].append(video)
        turns = [[some[place] for place in generator.permutation(len(some))] for some in by_system.values()]
        longest = max(map(len, turns), default=0)
        drawn = [some[place] for place in range(longest) for some in turns if place < len(some)][:wanted]
        judges = [self.judges[place] if self.judges else "" for place in self._round_robin(len(drawn))]
        expected: dict[str, str] = dict.fromkeys(ALL_AXES, TIE)
        return [
            self._item(
                ItemKind.IDENTICAL, Question(video.prompt_id, video.system, video.system), False, judge, expected
            )
            for video, judge in zip(drawn, judges, strict=True)
        ]

    def _gold(self, gold: Sequence[GoldQuestion], answers: int) -> list[StudyItem]:
        """Known answers, no question twice to a judge: without names a question is asked of every judge, once."""
        self._check_gold(gold)
        wanted = round(self.settings.checks.gold_share * answers)
        order = [gold[place] for place in self._chance("gold").permutation(len(gold))]
        asked = {
            (item.prompt_id, frozenset(filter(None, (item.media_a, item.media_b))), item.judge)
            for item in self.items
            if item.kind == ItemKind.GOLD
        }
        if self.judges:
            slots = [(known, judge) for known in order for judge in self.judges]
        else:
            slots, wanted = [(known, "") for known in order], round(wanted / self.settings.judges)
        new = [(known, judge) for known, judge in slots if (*self._shown(known.question), judge) not in asked][:wanted]
        exchanged = self._sides([known.question for known, _ in new], (ItemKind.GOLD,))
        return [
            self._item(ItemKind.GOLD, known.question, turned, judge, turn(known.expected) if turned else known.expected)
            for (known, judge), turned in zip(new, exchanged, strict=True)
        ]

    def _check_gold(self, gold: Sequence[GoldQuestion]) -> None:
        seen: set[tuple[str, frozenset[str]]] = set()
        for known in gold:
            prompt_id, pair = known.question.prompt_id, known.question.pair
            missing = [name for name in pair if name and (name, prompt_id) not in self.media]
            wrong = (
                f"no video of {', '.join(missing)}" if missing else "" if known.expected else "no axis has an answer"
            )
            if wrong or (shown := self._shown(known.question)) in seen:
                raise UserError(
                    f"study.checks.gold: prompt {prompt_id}, systems {' and '.join(filter(None, pair))}: "
                    f"{wrong or 'listed twice'}; correct the table or take the row out"
                )
            seen.add(shown)

    def _shown(self, question: Question) -> tuple[str, frozenset[str]]:
        return question.prompt_id, frozenset(self.media[name, question.prompt_id] for name in question.pair if name)

    def _round_robin(self, number: int) -> list[int]:
        """Indices of judges taking turns, from one drawn by chance."""
        start = int(self._key("turns")[:8], 16)
        return [(start + place) % max(len(self.judges), 1) for place in range(number)]

    def repeats(self, answers: Sequence[StudyAnswer]) -> list[StudyItem]:
        """Ordinary items asked again of who answered them, sides exchanged; from the older half of what they answered.

        Whose an item was, so is its repeat; of an item that anybody might answer it is the one's who did.
        """
        by_key = {item.item_key: item for item in self.items}
        again: dict[str, set[str]] = defaultdict(set)
        for item in self.items:
            if item.kind == ItemKind.REPEAT:
                again[item.judge].add(item.repeats)
        given: dict[str, dict[str, None]] = defaultdict(dict)  # keys, oldest answer first
        for answer in sorted(answers, key=lambda answer: (answer.answered_at, answer.item_key)):
            if not answer.skipped and (item := by_key[answer.item_key]).kind in ORDINARY:
                given[item.judge or answer.judge].setdefault(item.item_key)
        dealt = []
        for judge, keys in sorted(given.items()):
            wanted = int(self.settings.checks.repeat_share * len(keys)) - len(again[judge])
            left = sorted(set(list(keys)[: (len(keys) + 1) // 2]) - again[judge])
            order = self._chance("repeats", judge).permutation(len(left))
            dealt += [self._repeat(by_key[left[place]], judge) for place in order[: max(wanted, 0)].tolist()]
        return dealt

    def _repeat(self, item: StudyItem, judge: str) -> StudyItem:
        sides = (item.media_b, item.media_a) if item.media_b else (item.media_a, "")
        key = self._key(ItemKind.REPEAT, item.item_key, judge)
        return StudyItem(
            item.study, key, ItemKind.REPEAT.value, item.prompt_id, *sides, self.round, 1, judge, item.item_key
        )

    def _sides(self, chosen: Sequence[Question], kinds: Sequence[ItemKind]) -> list[bool]:
        """For each question whether `second` stands on side A."""
        if self.settings.design is Design.ABSOLUTE:
            return [False] * len(chosen)
        before: Counter[tuple[str, str]] = Counter()
        for item in self.items:
            if item.kind in kinds:
                before[self.system[item.media_a], self.system[item.media_b]] += 1
        return balanced_sides([question.pair for question in chosen], before, self._chance("sides", *kinds))

    def _item(
        self, kind: ItemKind, question: Question, exchanged: bool, judge: str, expected: Mapping[str, str] | None = None
    ) -> StudyItem:
        names = question.pair[::-1] if exchanged else question.pair
        media = [self.media[name, question.prompt_id] if name else "" for name in names]
        everybody = kind == ItemKind.GOLD and not judge
        wanted = self.settings.judges if everybody else self.settings.answers_wanted
        return StudyItem(
            study=self.settings.name,
            item_key=self._key(kind, question.prompt_id, *sorted(question.pair), judge),
            kind=kind.value,
            prompt_id=question.prompt_id,
            media_a=media[0],
            media_b=media[1],
            round=self.round,
            answers_wanted=1 if judge else wanted,
            judge=judge,
            expected=json.dumps(dict(expected or {}), sort_keys=True),
        )

    def _key(self, *parts: object) -> str:
        return _sealed(self.secret, self.settings, self.round, *parts)[:KEY_HEX]

    def _chance(self, *parts: object) -> np.random.Generator:
        return _chance(self.secret, self.settings, self.round, *parts)


def _sealed(secret: bytes, settings: StudySettings, *parts: object) -> str:
    text = content_id(settings.name, settings.seed, *parts)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _chance(secret: bytes, settings: StudySettings, *parts: object) -> np.random.Generator:
    return np.random.default_rng(int(_sealed(secret, settings, "chance", *parts), 16))


def turn(expected: Mapping[str, str]) -> dict[str, str]:
    """Answers as they read with the sides exchanged."""
    return {axis: EXCHANGED.get(answer, answer) for axis, answer in expected.items()}
