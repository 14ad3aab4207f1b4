"""Judging a catalogue: every clip and stage gets one verdict, written once per rules."""

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from curation.crop import CropSettings, crop_version
from curation.gates import CROP, GateRule, GateSettings, StageGates
from curation.records import Crop, Decision, Score, UserError
from jobs.cli import main
from jobs.config import Context
from jobs.gates import COUNTS, current_values, judge, print_decisions, run
from jobs.lineage import lineage
from jobs.storage import open_workspace
from tests.jobs.catalogue import clips_in, context_of


def with_rule(context: Context, rule: GateRule) -> Context:
    gates = GateSettings(stages={"video": StageGates(rules=(rule,))})
    return Context(context.recipe.model_copy(update={"gates": gates}), context.workspace, context.args)


def decisions(context: Context) -> Mapping[str, Decision]:
    return {verdict.clip_id: verdict.decision for verdict in judge(context).records()}


def test_every_clip_gets_a_verdict_and_a_second_judging_writes_nothing(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    verdicts = decisions(context)
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


def test_only_clips_that_are_new_under_the_rules_get_rows(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    judge(context)
    (clip, *_), table = clips_in(context), context.workspace.table("gate_verdicts")
    late, before = replace(clip, clip_id="late"), table.stems()
    context.workspace.table("clips").append("late", [late])
    judge(context)
    (stem,) = table.stems() - before
    assert table.read().num_rows == 5
    assert [row["clip_id"] for part in table.parts(["clip_id"]) for row in part.to_pylist()].count("late") == 1
    judge(context)
    assert table.stems() == before | {stem}


def test_a_percentile_follows_the_pool_and_its_number_is_kept_with_the_verdicts(tmp_path):
    context = with_rule(context_of(tmp_path, [20.0, 7.0, 1.0, None]), GateRule(scorer="sharpness", min_percentile=50))
    first = judge(context)
    expected = [Decision.KEEP, Decision.KEEP, Decision.REJECT, Decision.REVIEW]
    assert [decisions(context)[clip.clip_id] for clip in clips_in(context)] == expected
    saved = json.loads(context.workspace.read_bytes("rules", f"{first.rules.digest}.json"))
    assert saved["resolved"]["stages"]["video"]["rules"][0]["min"] == 7.0
    assert saved["asked"]["stages"]["video"]["rules"][0]["min_percentile"] == 50
    (clip, *_) = clips_in(context)
    score = context.workspace.table("scores").records()[0]
    context.workspace.table("clips").append("late", [replace(clip, clip_id="late")])
    context.workspace.table("scores").append("late", [replace(score, clip_id="late", value=30.0, error=None)])
    second = judge(context)
    assert second.rules.digest != first.rules.digest, "the 50th percentile is another number now"
    assert context.workspace.table("gate_verdicts").read().num_rows == 4 + 5


def with_args(context: Context, **given) -> Context:
    args = argparse.Namespace(**{"dry_run": False, "json": None, "csv": None, **given})
    return Context(context.recipe, context.workspace, args)


def test_a_dry_run_shows_everything_and_writes_nothing(tmp_path, capsys):
    context = with_args(context_of(tmp_path, [20.0, 7.0, 1.0, None]), dry_run=True)
    assert run(context) == 0
    out = capsys.readouterr().out
    assert "stage video: 4 clips" in out and "dry run: nothing was written" in out
    assert "sharpness: at least 10, a person decides from 5" in out
    assert "1 keep, 2 review, 1 reject" in out
    assert not context.workspace.table("gate_verdicts").stems() and not context.workspace.exists("rules")


def test_a_dry_run_from_the_command_line_touches_no_file_of_the_workspace(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    folder = open_workspace(context.workspace.uri).local_path()
    recipe = tmp_path / "r.toml"
    rule = '[[gates.stages.video.rules]]\nscorer = "sharpness"\nmin = 10\n'
    recipe.write_text(f'[score]\nscorers = ["sharpness"]\n{rule}')

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    before, given = files(), ["--recipe", str(recipe), "--workspace", str(folder)]
    assert main(["gates", "--dry-run", *given]) == 0
    assert "1 keep, 1 review, 2 reject" in capsys.readouterr().out
    assert files() == before
    assert main(["gates", *given]) == 0 and files() != before


def test_another_crop_is_judged_anew_where_a_rule_depends_on_it(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    first, settings = clips_in(context)[0], context.recipe.score
    shares = GateRule(scorer="picture_share", min=0.9)
    bare = settings.model_copy(update={"crop": CropSettings(borders=False)})
    kept = []
    for score in (settings, bare):
        version = crop_version(score.crop)
        bars = first.height // 4 if score is settings else 0
        crop = Crop(first.clip_id, version, 0, bars, first.width, first.height - 2 * bars, "letterbox")
        context.workspace.table("crops").append(version, [crop])
        recipe = context.recipe.model_copy(update={"score": score})
        judged = judge(with_rule(Context(recipe, context.workspace, context.args), shares))
        assert judged.rules.versions == {CROP: version}
        kept.append(judged.stages[0].counts()[Decision.KEEP])
        found = lineage(context.workspace, first.clip_id).gates
        outcomes = {each.verdict.rules_digest: each.rules[0].outcome for each in found}
        assert outcomes[judged.rules.digest] == ("fail" if score is settings else "pass")
    assert kept == [3, 4]
    assert sorted(outcomes.values()) == ["fail", "pass"], "each verdict is explained by the crop that it was made with"


def test_the_funnel_goes_to_programs_and_spreadsheets(tmp_path, capsys):
    context = with_rule(context_of(tmp_path, [20.0, 7.0, 1.0, None]), GateRule(scorer="sharpness", min_percentile=50))
    tree_file, sheet = tmp_path / "funnel.json", tmp_path / "funnel.csv"
    assert run(with_args(context, json=str(tree_file), csv=str(sheet))) == 0
    (stage,) = json.loads(tree_file.read_text())["stages"]
    assert (stage["keep"], stage["review"], stage["reject"]) == (2, 1, 1)
    assert stage["rules"][0]["bounds"] == "at least 7 (at least percentile 50 of the pool)"
    (row,) = csv.DictReader(sheet.read_text().splitlines())
    assert [int(row[name]) for name in COUNTS] == [4, 1, 1, 1, 0, 1]
    assert "at least percentile 50 of the pool" in capsys.readouterr().out


def test_values_are_those_of_current_scores_and_absent_where_there_is_none(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    context.workspace.table("scores").append("a", [Score(clips_in(context)[0].clip_id, "sharpness", "0", 9.0, None)])
    values = current_values(context)
    assert [values[clip.clip_id] for clip in clips_in(context)] == [
        {"sharpness": 20.0}, {"sharpness": 7.0}, {"sharpness": 1.0}, {},
    ]  # fmt: skip
    second = clips_in(context)[1].clip_id
    assert current_values(context, [second, "gone"]) == {second: {"sharpness": 7.0}}
