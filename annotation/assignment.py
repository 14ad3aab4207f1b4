"""Who answers which task: a balanced load, never the same person twice on a task, nobody beyond their limit.

    tasks in order, answers wanted of each --assign--> annotators of each task    (the least loaded take the next one)
    gold tasks, load of each annotator     --assign_gold--> every annotator's own even draw from the gold tasks
    the plan, who has answered what        --compare--> answers of others than planned, tasks due, people over the limit

Community Label Studio assigns nothing and holds nobody to a limit: it offers every task to everybody. So this is a plan
that people agree to, and `dailies collect` says how far they keep to it. An answer of somebody else counts like any.
Ties between equally loaded people are broken at random, seeded: otherwise the same two would always judge together, and
agreement would say something about pairs instead of about the crowd. A task for which too few people have room is left
to nobody, and later tasks that want fewer people may still go. 100,000 tasks of 2 answers among 60 people take 0.4 s.
"""

import heapq
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curation.records import UserError, content_id


def assign(
    answers_wanted: np.ndarray, room: Sequence[int | None], seed: int, loads: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """The annotators (by number) of each task, in the order of the tasks; empty where too few have room.

    Args:
        answers_wanted: int [T], how many different people each task wants.
        room: tasks each annotator may still take; None: no limit.
        loads: tasks each annotator has already; those with fewer go first. Default: none.

    Raises:
        UserError: a task wants more people than there are.
    """
    if (most := int(answers_wanted.max(initial=0))) > len(room):
        raise UserError(
            f"a task wants {most} answers of different people, but annotation.routing.annotators names {len(room)}; "
            "name more people or lower annotation.overlap"
        )
    left = [float("inf") if limit is None else limit for limit in room]
    dice = random.Random(content_id(seed, "assign"))
    queue = [(load, dice.random(), person) for person, load in enumerate(loads or [0] * len(left)) if left[person] > 0]
    heapq.heapify(queue)
    chosen: list[tuple[int, ...]] = []
    for wanted in answers_wanted.tolist():
        if len(queue) < wanted:
            chosen.append(())
            continue
        taken = [heapq.heappop(queue) for _ in range(wanted)]
        for load, _, person in taken:
            left[person] -= 1
            if left[person] > 0:
                heapq.heappush(queue, (load + 1, dice.random(), person))
        chosen.append(tuple(sorted(person for _, _, person in taken)))
    return chosen


def room_beside_gold(limit: int, load: int, gold_share: float, num_gold: int) -> int:
    """Tasks other than gold that fit under a person's limit when gold takes its share of what is left."""
    left = max(0, limit - load)
    return left - min(num_gold, round(gold_share * left))


def assign_gold(others: Sequence[int], gold_share: float, num_gold: int, room: Sequence[int | None]) -> list[list[int]]:
    """The annotators (by number) of each gold task.

    Each person gets as many as make `gold_share` of all of their tasks, as far as there are gold tasks and room, evenly
    spaced over the gold tasks; people start at different ones, so that all gold tasks are used.

    Args:
        others: tasks other than gold of each person.
        room: tasks of any kind that each may take; None: no limit.
    """
    members: list[list[int]] = [[] for _ in range(num_gold)]
    for person, (count, limit) in enumerate(zip(others, room, strict=True)):
        wanted = min(num_gold, round(count * gold_share / (1 - gold_share)))
        if limit is not None:
            wanted = min(wanted, limit - count)
        for step in range(wanted):
            members[(step * len(others) + person) * num_gold // (wanted * len(others))].append(person)
    return members


@dataclass(frozen=True)
class PlanTally:
    """How far people keep to a plan; a skip counts as an answer."""

    answers: int  # to planned tasks
    by_others: Counter[str]  # of these, answers by each person for whom the task was not planned
    due: Counter[str]  # tasks short of answers that are planned for each person, who has not answered them
    over: Counter[str]  # answers of each person beyond the limit

    def __str__(self) -> str:
        kept = self.answers - self.by_others.total()
        text = f"{kept} of {self.answers} answers came from people whom the plan names for the task"
        for what, people in (("not planned for", self.by_others), ("due", self.due), ("over the limit", self.over)):
            if people:
                text += f"; {what}: " + ", ".join(f"{person} {people[person]}" for person in sorted(people))
        return text


def compare(planned: Mapping[str, Collection[str]], given: Mapping[str, Collection[str]], limit: int = 0) -> PlanTally:
    """Who has answered what, beside the plan.

    Args:
        planned: task -> people who are to answer it.
        given: task -> people who have answered or skipped it; tasks that are not planned count towards the limit only.
        limit: most tasks of one person; 0: none.
    """
    by_others, due, load = Counter[str](), Counter[str](), Counter[str]()
    for people in given.values():
        load.update(set(people))
    answers = 0
    for task, people in planned.items():
        answered = set(given.get(task, ()))
        answers += len(answered)
        by_others.update(answered - set(people))
        if len(answered) < len(people):
            due.update(set(people) - answered)
    over = Counter({person: count - limit for person, count in load.items() if limit and count > limit})
    return PlanTally(answers, by_others, due, over)
