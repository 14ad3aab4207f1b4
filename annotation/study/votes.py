"""Answers of a study as columns, which is all that its statistics read.

    study_items + study_videos + study_answers --pair_votes--> PairVotes     (pairwise)
                                               --pass_votes--> PassVotes     (absolute)

Legend: N answers, A axes. Indices point into `systems`, `prompts` and `judges`. Repeats, gold and identical items are
not among them: those say something of judges (annotation/study/judges.py), not of systems.
"""

from dataclasses import dataclass

import numpy as np

MISSING = -1


@dataclass(frozen=True)
class PairVotes:
    """Comparisons. `answer_NA` is 0 where the first system won (answer A), 1 for a tie, 2 for the second, -1 missing.

    The first system is the one that was shown on side A.
    """

    systems: tuple[str, ...]
    prompts: tuple[str, ...]
    judges: tuple[str, ...]
    axes: tuple[str, ...]
    first_N: np.ndarray  # int32, index of the system on side A
    second_N: np.ndarray  # int32, on side B
    prompt_N: np.ndarray  # int32
    judge_N: np.ndarray  # int32
    answer_NA: np.ndarray  # int8

    def __len__(self) -> int:
        return len(self.first_N)

    def chosen(self, rows: np.ndarray) -> "PairVotes":
        """Some of the answers, by index or mask; the names stay."""
        return PairVotes(
            self.systems,
            self.prompts,
            self.judges,
            self.axes,
            self.first_N[rows],
            self.second_N[rows],
            self.prompt_N[rows],
            self.judge_N[rows],
            self.answer_NA[rows],
        )


@dataclass(frozen=True)
class PassVotes:
    """Judgements of one video each. `passed_NA` is 1 for pass, 0 for fail, -1 missing; the last axis is the overall."""

    systems: tuple[str, ...]
    prompts: tuple[str, ...]
    judges: tuple[str, ...]
    axes: tuple[str, ...]
    system_N: np.ndarray  # int32
    prompt_N: np.ndarray  # int32
    judge_N: np.ndarray  # int32
    passed_NA: np.ndarray  # int8

    def __len__(self) -> int:
        return len(self.system_N)

    def chosen(self, rows: np.ndarray) -> "PassVotes":
        """Some of the answers, by index or mask; the names stay."""
        return PassVotes(
            self.systems,
            self.prompts,
            self.judges,
            self.axes,
            self.system_N[rows],
            self.prompt_N[rows],
            self.judge_N[rows],
            self.passed_NA[rows],
        )
