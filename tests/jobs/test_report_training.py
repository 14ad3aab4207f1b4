"""The training part of the report: the newest run, its curves and held-out losses as they were written."""

import base64
import json
import os

import pytest

from jobs.report_training import training
from tests.jobs.finished import RUN, empty_context, finished_context


def test_curves_and_held_out_losses_are_those_of_the_metrics_file(tmp_path):
    context = finished_context(tmp_path)
    trained = training(context.workspace, context.recipe, context.workspace.table("train_reads").records())
    assert trained.run_id == RUN and trained.num_held_out == 1 and trained.other_runs == ()
    vae, sft = trained.stages
    assert (vae.curve.stage, vae.steps_done, vae.steps_wanted) == ("vae", 40, 40)
    assert (sft.steps_done, sft.steps_wanted, sft.reads_from) == (40, 50, ("sft",))
    assert vae.curve.held_out_steps == [0, 20, 40]
    loss, psnr = vae.held_out
    assert (loss.name, loss.before, loss.after) == ("loss", vae.curve.held_out_losses[0], vae.curve.held_out_losses[2])
    assert (psnr.name, psnr.before, psnr.after) == ("psnr_db", 10, 14)
    assert vae.speed == "1,200 video tokens a second, 31% of the device's peak, 0.4% of the time waiting for data"
    assert vae.num_clips_read == 5 and vae.num_reads == 15


def test_the_newest_contact_sheet_of_a_stage_lies_in_the_page(tmp_path):
    context = finished_context(tmp_path)
    for step in ("step-000010", "step-000020"):
        context.workspace.write_bytes(step.encode(), "checkpoints", RUN, "sft", "samples", step, "sheet.png")
    vae, sft = training(context.workspace, context.recipe, []).stages
    assert vae.sheet == ""
    assert sft.sheet == "data:image/png;base64," + base64.b64encode(b"step-000020").decode()


def test_nothing_trained_is_no_run(tmp_path):
    context = empty_context(tmp_path)
    assert training(context.workspace, context.recipe, []).run_id is None


def test_the_newest_run_is_shown_and_the_others_are_named(tmp_path):
    context = finished_context(tmp_path)
    row = {"kind": "step", "stage": "vae", "step": 1, "loss": 0.5}
    context.workspace.write_bytes(json.dumps(row).encode() + b"\n", "checkpoints", "later", "metrics.jsonl")
    path = context.workspace.local_path("checkpoints", "later", "metrics.jsonl")
    os.utime(path, (path.stat().st_mtime + 60,) * 2)
    trained = training(context.workspace, context.recipe, context.workspace.table("train_reads").records())
    assert trained.run_id == "later" and trained.other_runs == (RUN,)
    (stage,) = trained.stages
    assert stage.curve.losses == [0.5] and stage.held_out == () and stage.num_clips_read == 0


@pytest.mark.parametrize("torn", [b'{"kind": "st', b""])
def test_a_metrics_file_that_is_just_being_written_is_read_up_to_there(tmp_path, torn):
    context = empty_context(tmp_path)
    row = {"kind": "step", "stage": "vae", "step": 1, "loss": 0.5}
    context.workspace.write_bytes(json.dumps(row).encode() + b"\n" + torn, "checkpoints", "run", "metrics.jsonl")
    assert training(context.workspace, context.recipe, []).stages[0].curve.losses == [0.5]
