"""`dailies calibrate` end to end on a planted taste: learnt, refused, kept apart, applied, and asked for by gates."""

import argparse
import io
import json
import shutil
import tomllib
from contextlib import redirect_stdout

import numpy as np
import pytest

from annotation.suitability import SUITABILITY, Model
from curation.gates import GateRule, GateSettings, StageGates
from curation.records import UserError
from curation.tables import Workspace
from jobs.calibrate import read_answers, run
from jobs.calibrations import FOLDER, current_calibration, information_at
from jobs.cli import main
from jobs.config import Context, Recipe
from jobs.gates import current_catalogue, current_rules, current_values, judge
from tests.jobs.taught import NUM_CLIPS, add_clips, add_verdicts, recipe_of, taught_context


@pytest.fixture(scope="module")
def learnt_once(tmp_path_factory) -> tuple[Context, str]:
    """A workspace in which it was learnt, and what was printed."""
    context, printed = taught_context(tmp_path_factory.mktemp("learnt")), io.StringIO()
    with redirect_stdout(printed):
        assert run(context) == 0
    return context, printed.getvalue()


@pytest.fixture
def learnt(learnt_once, tmp_path) -> Context:
    """A copy of it, to change."""
    context, _ = learnt_once
    shutil.copytree(context.workspace.root, tmp_path / "ws")
    return Context(context.recipe, Workspace(str(tmp_path / "ws")), context.args)


def suitability(context: Context) -> dict[str, float]:
    values = current_values(context)
    return {clip_id: each[SUITABILITY] for clip_id, each in values.items() if SUITABILITY in each}


def applying(context: Context) -> Context:
    return Context(context.recipe, context.workspace, argparse.Namespace(apply=True, precision=None))


def files(context: Context) -> dict[str, bytes]:
    folder = context.workspace.local_path()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_clip_gets_a_score_that_ranks_as_people_do(learnt_once):
    context, printed = learnt_once
    assert "240 clips with people's answers (" in printed
    assert "calibrate: 300 clips = 300 scored + 0 already there + 0 waiting for other scores\n" in printed
    scores = suitability(context)
    assert len(scores) == NUM_CLIPS and all(0 <= score <= 1 for score in scores.values())
    verdicts = {row.clip_id: row.decision == "keep" for row in context.workspace.table("human_verdicts").records()}
    kept = [score for clip_id, score in scores.items() if verdicts.get(clip_id)]
    rejected = [score for clip_id, score in scores.items() if verdicts.get(clip_id) is False]
    assert np.mean(kept) > 0.7 and np.mean(rejected) < 0.3


def test_a_second_run_finds_everything_there(learnt, capsys):
    context = learnt
    before = files(context)
    assert run(context) == 0
    assert "0 scored + 300 already there" in capsys.readouterr().out
    assert files(context) == before


def test_there_is_nothing_to_apply_before_something_was_learnt(tmp_path):
    with pytest.raises(UserError, match="run `dailies calibrate` without --apply first"):
        run(applying(taught_context(tmp_path)))


def test_apply_gives_new_clips_what_a_fresh_look_would_and_fits_nothing(learnt, capsys):
    context = learnt
    digest = current_calibration(context.workspace, context.recipe)
    rows = context.workspace.table("scores").records()
    old = {row.clip_id: row for row in rows if row.scorer == SUITABILITY}
    ones = np.ones(40)
    add_clips(context.workspace, context.recipe, "more", range(300, 340), 2 * ones, ones, ones > 2)
    assert run(applying(context)) == 0
    assert "calibrate: 340 clips = 40 scored + 300 already there + 0 waiting" in capsys.readouterr().out
    assert current_calibration(context.workspace, context.recipe) == digest
    incremental = suitability(context)
    for part in context.workspace.table("scores").stems():
        if part.startswith(SUITABILITY):
            context.workspace.table("scores").remove(part)
    run(applying(context))
    assert suitability(context) == incremental and len(incremental) == 340
    assert all(incremental[clip_id] == row.value for clip_id, row in old.items())


def test_a_clip_that_was_not_scored_yet_waits(learnt, capsys):
    context = learnt
    numbers, ones = range(300, 310), np.ones(10)
    add_clips(context.workspace, context.recipe, "more", numbers, ones, ones, ones > 2)
    for table in ("scores", "embeddings"):
        context.workspace.table(table).remove("more")
    assert run(applying(context)) == 0
    assert "calibrate: 310 clips = 0 scored + 300 already there + 10 waiting" in capsys.readouterr().out


def test_too_few_answers_are_refused_with_what_is_missing(tmp_path, capsys):
    context = taught_context(tmp_path, num_answers=30)
    before = files(context)
    assert run(context) == 1
    assert "wanted are at least 20 more answers (30 of 50)" in capsys.readouterr().out
    assert files(context) == before


def test_no_answers_at_all_are_refused_likewise(tmp_path, capsys):
    assert run(taught_context(tmp_path, num_answers=0)) == 1
    assert "wanted are at least 50 more answers (0 of 50); answers from 5 more source" in capsys.readouterr().out


def test_coin_tosses_are_refused(tmp_path, capsys):
    context = taught_context(tmp_path, steepness=0.0)
    assert run(context) == 1
    assert "no better than chance as far as these answers can tell" in capsys.readouterr().out
    assert current_calibration(context.workspace, context.recipe) is None and suitability(context) == {}


def test_simulated_answers_teach_only_where_that_is_allowed_and_say_so(tmp_path, capsys):
    context = taught_context(tmp_path, simulated=True)
    with pytest.raises(UserError, match=r"all 240 verdicts are simulated.*calibrate.allow_simulated = true"):
        run(context)
    allowed = Context(recipe_of(allow_simulated=True), context.workspace, context.args)
    assert run(allowed) == 0
    assert "240 clips with SIMULATED answers" in capsys.readouterr().out
    digest = current_calibration(allowed.workspace, allowed.recipe)
    card = allowed.workspace.read_bytes(FOLDER, f"{digest}.md").decode()
    assert card.startswith("**SIMULATED")
    assert current_calibration(context.workspace, context.recipe) is None, "another recipe does not find it"


def test_simulated_answers_never_mix_with_real_ones(tmp_path):
    context = taught_context(tmp_path, num_answers=200)
    alone = read_answers(context, current_catalogue(context.workspace, context.recipe))
    decided = {row.clip_id for row in context.workspace.table("human_verdicts").records()}
    others = [number for number in range(NUM_CLIPS) if f"{number:020x}" not in decided]
    add_verdicts(context.workspace, others, [True] * len(others), simulated=True, stem="simulated")
    for allowed in (False, True):
        both = Context(recipe_of(allow_simulated=allowed), context.workspace, context.args)
        taught = read_answers(both, current_catalogue(context.workspace, both.recipe))
        np.testing.assert_array_equal(taught.places, alone.places)
        assert not taught.simulated and taught.set_aside == 100, "which is printed, and on the card"


def test_gates_ask_for_it_as_for_any_other_score(tmp_path):
    context = taught_context(tmp_path)
    gates = GateSettings(stages={"video": StageGates(rules=(GateRule(scorer=SUITABILITY, min=0.5),))})
    asking = Context(context.recipe.model_copy(update={"gates": gates}), context.workspace, context.args)
    with pytest.raises(UserError, match="gates ask for suitability, which `dailies calibrate` learns"):
        current_rules(asking.workspace, asking.recipe, current_catalogue(asking.workspace, asking.recipe))
    assert run(asking) == 0, "a gate that waits for the model does not stand in its way"
    judged, scores = judge(asking), suitability(asking)
    kept = {verdict.clip_id for verdict in judged.records() if verdict.decision == "keep"}
    assert kept == {clip_id for clip_id, score in scores.items() if score >= 0.5}
    assert judged.rules.versions == {SUITABILITY: current_calibration(asking.workspace, asking.recipe)}


def test_other_scorers_have_no_model_yet(learnt_once):
    context, _ = learnt_once
    tree = context.recipe.model_dump()
    tree["score"]["scorers"] = ["sharpness", "motion"]
    assert current_calibration(context.workspace, Recipe.model_validate(tree)) is None


def test_the_command_line_takes_a_precision_and_proposes_rules_to_paste(tmp_path, capsys):
    context = taught_context(tmp_path)
    file = tmp_path / "recipe.toml"
    file.write_text(
        '[score]\nscorers = ["sharpness", "motion", "camera_movement", "exposure", "blur"]\n[calibrate]\n'
        "num_bootstraps = 100\n[[gates.stages.video.rules]]\nscorer = 'sharpness'\nmin = 0.1\nreview_min = 0.05\n"
        "[[gates.stages.video.rules]]\nscorer = 'duration_s'\nmin = 2\n"
    )
    given = ["calibrate", "--recipe", str(file), "--workspace", context.workspace.uri, "--precision"]
    assert main([*given, "1.2"]) == 2
    assert "--precision wants a share between 0 and 1, such as 0.9, got 1.2" in capsys.readouterr().err
    assert main([*given, "0.75"]) == 0
    printed = capsys.readouterr().out
    assert "stage video, on held-out answers, 75% wanted:" in printed
    pasted = "".join(
        f"{line}\n" for line in printed.splitlines() if line.startswith(("[[", "scorer =", "min =", "max =", "review"))
    )
    proposed = tomllib.loads(pasted.split('[[gates.stages.video.rules]]\nscorer = "suitability"')[0])
    rules = {rule["scorer"]: GateRule.model_validate(rule) for rule in proposed["gates"]["stages"]["video"]["rules"]}
    assert rules["duration_s"].min == 2, "format is not people's to move"
    assert 0.5 < (rules["sharpness"].min or 0) < 4


def test_people_are_asked_first_where_an_answer_would_teach(learnt_once, tmp_path):
    context, _ = learnt_once
    catalogue = current_catalogue(context.workspace, context.recipe)
    places = np.arange(len(catalogue))
    bits = information_at(context.workspace, context.recipe, catalogue, places)
    assert bits is not None and bits.shape == places.shape and (bits >= 0).all() and (bits <= 1).all()
    chances = catalogue.columns[SUITABILITY].values
    open_ones, sure_ones = abs(chances - 0.5) < 0.3, abs(chances - 0.5) > 0.45
    assert bits[open_ones].mean() > 2 * bits[sure_ones].mean()
    few = information_at(context.workspace, context.recipe, catalogue, places[7:9])
    assert few is not None and few.tolist() == bits[7:9].tolist()
    nothing = Workspace(str(tmp_path / "empty"))
    assert information_at(nothing, context.recipe, catalogue, places) is None


def test_the_model_is_kept_as_numbers_beside_its_card(learnt_once):
    context, _ = learnt_once
    digest = current_calibration(context.workspace, context.recipe)
    model = Model.from_json(context.workspace.read_bytes(FOLDER, f"{digest}.model.json"))
    assert model.digest == digest
    card = json.loads(context.workspace.read_bytes(FOLDER, f"{digest}.json"))
    assert card["digest"] == digest and card["answers"]["by_person"] == {"ann@localhost": 240, "bob@localhost": 240}
    assert card["answers"]["first_at"] == "2026-11-01T10:00:00+00:00"
    assert sum(card["answers"]["by_source"].values()) == 240 and set(card["answers"]["by_reason"]) == {
        "audit",
        "video: sharpness < 2",
    }
