"""A stage's gates over the whole catalogue: verdicts for every clip and the account of what each rule cost.

    Column per rule --kinds_of--> uint8 [N] each --combine--> distinct combinations [C, R] + of_clip [N]
                                                                    |
                                          decisions, reasons, losses of C combinations, told to N clips by `take`

A million clips under ten rules make some thousand combinations, so only those are decided and put into words.

Legend: N clips, R rules, C distinct combinations of what the rules say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.catalogue import Catalogue
from curation.gates import NARROW, UNKNOWN, Kind, Rules, StageGates, bounds_text, decisions_of, kinds_of, reason_of
from curation.records import Decision
from curation.tables import TABLES, schema_of

DECISIONS = tuple(Decision)
REJECT = DECISIONS.index(Decision.REJECT)
NUM_KINDS = len(Kind)


@dataclass(frozen=True)
class RuleLosses:
    """What one rule did in one stage, in clips.

    `clips_in` and `lost_here` follow the order of the rules: a clip leaves at the rule at which its rejection is sure.
    """

    scorer: str
    bounds: str
    clips_in: int
    lost_here: int
    lost: int  # rejected clips that have this rule in their reason, whatever the others say
    lost_only_by_this: int  # rejected clips that would not be rejected without this rule: what loosening it gives back
    narrow: int
    unknown: int


@dataclass(frozen=True)
class StageJudgement:
    """The verdicts of one stage."""

    stage: str
    gates: StageGates  # resolved
    kinds: np.ndarray  # Kind, uint8 [C, R]
    of_clip: np.ndarray  # int64 [N], each clip's combination
    decisions: np.ndarray  # uint8 [C], index into DECISIONS
    causes: np.ndarray  # bool [C, R]

    def counts(self) -> Mapping[Decision, int]:
        """Clips per decision."""
        totals = np.bincount(self.decisions[self.of_clip], minlength=len(DECISIONS))
        return dict(zip(DECISIONS, totals.tolist(), strict=True))

    def reasons(self) -> list[str]:
        """The reason of each combination: short kinds joined by "; ", without any clip's value."""
        passed = "passed every gate, people choose" if self.gates.people else "passed every gate"
        texts = []
        for kinds, causes in zip(self.kinds.tolist(), self.causes.tolist(), strict=True):
            told = zip(self.gates.rules, kinds, causes, strict=True)
            texts.append("; ".join(reason_of(rule, Kind(kind)) for rule, kind, led in told if led) or passed)
        return texts

    def verdicts(self, clip_ids: pa.Array, digest: str, chosen: np.ndarray | None = None) -> pa.Table:
        """Rows of `gate_verdicts`, texts as dictionaries; `chosen` are the places of the wanted clips."""
        of_clip = self.of_clip if chosen is None else self.of_clip[chosen]
        ids = clip_ids if chosen is None else clip_ids.take(pa.array(chosen))
        same = np.zeros(len(of_clip), np.int32)
        reasons = pa.array(self.reasons(), pa.string()).dictionary_encode()
        columns = {
            "clip_id": ids,
            "stage": _encoded(same, [self.stage]),
            "decision": _encoded(self.decisions[of_clip].astype(np.int32), [str(each) for each in DECISIONS]),
            "reason": _encoded(reasons.indices.to_numpy()[of_clip], reasons.dictionary),
            "by": _encoded(same, ["gates"]),
            "rules_digest": _encoded(same, [digest]),
        }
        return pa.table({name: columns[name] for name in schema_of(TABLES["gate_verdicts"].record).names})

    def losses(self) -> list[RuleLosses]:
        """What each rule did, in the order of the rules."""
        weight = np.bincount(self.of_clip, minlength=len(self.kinds))
        rejected = self.decisions == REJECT
        rows, still_in = [], np.ones(len(weight), bool)
        for index, rule in enumerate(self.gates.rules):
            out = decisions_of(self.kinds[:, : index + 1], False)[0] == REJECT
            without = decisions_of(np.delete(self.kinds, index, axis=1), False)[0] == REJECT
            counted = {
                "clips_in": still_in,
                "lost_here": still_in & out,
                "lost": rejected & self.causes[:, index],
                "lost_only_by_this": rejected & ~without,
                "narrow": NARROW[self.kinds[:, index]],
                "unknown": UNKNOWN[self.kinds[:, index]],
            }
            rows.append(
                RuleLosses(
                    rule.scorer, bounds_text(rule), **{name: int(weight[of].sum()) for name, of in counted.items()}
                )
            )
            still_in = ~out
        return rows


def judge_stages(rules: Rules, catalogue: Catalogue) -> list[StageJudgement]:
    """Judge every clip for every stage, in the order of the stages."""
    judged = []
    for name, gates in rules.resolved.stages.items():
        said = [kinds_of(rule, catalogue.columns[rule.scorer]) for rule in gates.rules]
        kinds, of_clip = _combinations(said, len(catalogue))
        judged.append(StageJudgement(name, gates, kinds, of_clip, *decisions_of(kinds, gates.people)))
    return judged


def _encoded(indices: np.ndarray, texts: list[str] | pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(texts, pa.string()))


def _combinations(said: list[np.ndarray], num_clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct combinations [C, R], in order of first appearance, and each clip's combination [N]."""
    keys, radix = np.zeros(num_clips, np.int64), 1
    for kinds in said:
        if radix > 2**62 // NUM_KINDS:
            keys, radix = _numbered(keys), num_clips
        keys, radix = keys * NUM_KINDS + kinds, radix * NUM_KINDS
    of_clip = _numbered(keys)
    first = np.zeros(of_clip.max(initial=-1) + 1, np.int64)
    first[of_clip[::-1]] = np.arange(num_clips)[::-1]
    kinds = np.zeros((len(first), len(said)), np.uint8)
    for index, column in enumerate(said):
        kinds[:, index] = column[first]
    return kinds, of_clip


def _numbered(keys: np.ndarray) -> np.ndarray:
    """Equal keys get equal numbers, 0, 1, 2 in order of first appearance."""
    return pa.array(keys).dictionary_encode().indices.to_numpy().astype(np.int64)
