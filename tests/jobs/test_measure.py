"""The verb from end to end: samples, a study and a trained run are measured, twice; one file gives no video."""

import shutil

import pytest

from curation.tables import Workspace
from jobs.cli import main
from jobs.measure import trained_runs
from tests.jobs.measured import add_samples, add_study
from training.trained import newest_run

RECIPE = """
[engine]
memory_gib_per_worker = 0.5
[measure]
scorers = ["dynamics", "flicker", "exposure"]
vae_frames = 1
vae_side_px = 32
device = "cpu"
"""


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_everything_is_measured_once_and_every_video_is_measured_or_a_failure(trained_workspace, tmp_path, capsys):
    workspace = Workspace(str(tmp_path / "workspace"))
    of_others = shutil.ignore_patterns("samples", "measurements", "failures")
    shutil.copytree(trained_workspace.local_path(), workspace.local_path(), ignore=of_others)
    run_id = newest_run(workspace)
    add_samples(workspace, f"{run_id}/image_256", ["still", "pan", "broken"])
    add_study(workspace, {"ours": ["still", "flicker"], "theirs": ["pan", "flicker"]})
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    verb = ["measure", "--recipe", str(recipe), "--workspace", workspace.uri]
    assert main(verb) == 0
    said = capsys.readouterr().out
    assert "measure: 7 videos = 6 results + 1 failures (1 empty file) + 0 pending" in said
    assert "measure_vae: 1 VAEs = 1 results + 0 failures + 0 pending" in said
    rows = workspace.table("measurements").records()
    degree = {row.subject: row.value for row in rows if row.measure == "dynamic_degree"}
    assert degree == {f"{run_id}/image_256": 0.5, "ours": 0.0, "theirs": 0.5}
    assert {row.measure for row in rows if row.subject_kind == "vae"} == {"l1", "psnr_db", "ssim"}
    assert "flow_loss@0.5" in {row.measure for row in rows if row.subject == f"{run_id}/image_256@2"}
    assert main(verb) == 0
    assert workspace.table("measurements").records() == rows


def test_a_workspace_without_anything_says_what_to_do(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    assert main(["measure", "--recipe", str(recipe), "--workspace", str(tmp_path / "empty")]) == 0
    assert (
        "no generated videos and no trained VAEs; run `dailies generate` or `dailies train`" in capsys.readouterr().out
    )


def test_weights_that_are_not_there_stop_the_run_before_any_work(tmp_path, capsys):
    workspace, recipe = Workspace(str(tmp_path / "workspace")), tmp_path / "recipe.toml"
    add_samples(workspace, "run/video", ["one frame"])
    recipe.write_text('[measure]\nscorers = ["dynamics", "subject_consistency"]\n')
    assert main(["measure", "--recipe", str(recipe), "--workspace", workspace.uri]) == 2
    assert "set score.options.subject_consistency.weights" in capsys.readouterr().err
    assert workspace.table("measurements").records() == []


def test_only_runs_with_settings_and_metrics_are_read(tmp_path):
    workspace = Workspace(str(tmp_path))
    for place in (("a", "run.json"), ("a", "metrics.jsonl"), ("b", "run.json")):
        workspace.write_bytes(b"{}", "checkpoints", *place)
    assert trained_runs(workspace) == ["a"]
