"""Judging a catalogue: every clip and stage gets one verdict, written once per rules."""

import pytest

from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Decision, UserError
from jobs.config import Context
from jobs.gates import judge, print_decisions
from tests.jobs.catalogue import clips_in, context_of


def with_rule(context: Context, rule: GateRule) -> Context:
    gates = GateSettings(stages={"video": StageGates(rules=(rule,))})
    return Context(context.recipe.model_copy(update={"gates": gates}), context.workspace, context.args)


def test_every_clip_gets_a_verdict_and_a_second_judging_writes_nothing(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    verdicts = {verdict.clip_id: verdict.decision for verdict in judge(context)}
    expected = [Decision.KEEP, Decision.REVIEW, Decision.REJECT, Decision.REVIEW]
    assert [verdicts[clip.clip_id] for clip in clips_in(context)] == expected
    stems = context.workspace.table("gate_verdicts").stems()
    judge(context)
    assert context.workspace.table("gate_verdicts").stems() == stems
    print_decisions(judge(context))
    assert capsys.readouterr().out == "gates video: 1 keep, 2 review, 1 reject\n"


def test_other_rules_are_other_verdicts_beside_the_old_ones(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    judge(context)
    judge(with_rule(context, GateRule(scorer="sharpness", min=0.5)))
    assert len(context.workspace.table("gate_verdicts").distinct("rules_digest")) == 2
    assert context.workspace.table("gate_verdicts").read().num_rows == 8


def test_a_gate_on_a_scorer_that_does_not_run_is_refused(tmp_path):
    context = with_rule(context_of(tmp_path, [1.0, 1.0, 1.0, 1.0]), GateRule(scorer="motion", min=1))
    with pytest.raises(UserError, match=r"gates ask for motion, but score\.scorers has only sharpness"):
        judge(context)
