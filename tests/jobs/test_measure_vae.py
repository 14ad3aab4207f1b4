"""VAEs of a run that was trained, by the worker; LPIPS with random weights, as none are here."""

import pytest
import torch

from curation.records import UserError
from jobs.measure_settings import MeasureSettings
from jobs.measure_vae import NothingFits, VAEWorker, find_vaes, vae_job, vae_measures
from model.perceptual import LPIPS
from training.stages import LPIPSSettings
from training.trained import newest_run

WHOLE = MeasureSettings(vae_frames=1, vae_side_px=32, device="cpu")


@pytest.fixture
def vaes(trained_workspace):
    return find_vaes(trained_workspace, [newest_run(trained_workspace)])


def test_a_finished_vae_is_measured_on_what_it_was_not_trained_on(trained_workspace, vaes):
    torch.set_num_threads(1)
    how = vae_measures(WHOLE, LPIPSSettings())
    job = vae_job(vaes, trained_workspace, how)
    (item,) = job.items
    assert item.label == f"{newest_run(trained_workspace)}/vae@2" and job.finished() == set()
    rows = VAEWorker(trained_workspace.uri, how)(item).rows["measurements"]
    values = {row.measure: row.value for row in rows}
    assert set(values) == {"l1", "psnr_db", "ssim"} and 3 < values["psnr_db"] < 40 and 0 < values["ssim"] < 1
    (protocol,) = {row.protocol for row in rows}
    assert "the centre 32x32 px" in protocol and "held-out clips of image" in protocol
    assert {(row.subject_kind, row.number) for row in rows} == {("vae", 1)}
    trained_workspace.table("measurements").append("vae", rows)
    assert job.finished() == {item.label}
    larger = vae_measures(WHOLE.model_copy(update={"vae_side_px": 48}), LPIPSSettings())
    assert vae_job(vaes, trained_workspace, larger).finished() == set(), "another protocol is due"


def test_a_protocol_that_no_clip_has_room_for_says_what_to_change(trained_workspace, vaes):
    how = vae_measures(MeasureSettings(device="cpu"), LPIPSSettings())
    (item,) = vae_job(vaes, trained_workspace, how).items
    with pytest.raises(NothingFits, match=r"none of the 1 held-out clips .* 17 frames of 256 px; lower measure"):
        VAEWorker(trained_workspace.uri, how)(item)


def test_lpips_is_measured_where_its_weights_are_named(trained_workspace, vaes, tmp_path):
    torch.manual_seed(0)
    network = LPIPS()
    backbone = {name: value for name, value in network.state_dict().items() if name.startswith("features.")}
    linear = {f"lin{i}.model.1.weight": weight.data.view(1, -1, 1, 1) for i, weight in enumerate(network.linear)}
    files = {"backbone": str(tmp_path / "vgg16.pth"), "linear": str(tmp_path / "vgg.pth")}
    torch.save(backbone, files["backbone"])
    torch.save(linear, files["linear"])
    how = vae_measures(WHOLE, LPIPSSettings(**files))
    assert how.version != vae_measures(WHOLE, LPIPSSettings()).version
    (item,) = vae_job(vaes, trained_workspace, how).items
    rows = VAEWorker(trained_workspace.uri, how)(item).rows["measurements"]
    assert {row.measure for row in rows} == set(how.measures) == {"l1", "psnr_db", "ssim", "lpips"}


def test_weights_of_lpips_that_are_not_there_are_named_before_any_work():
    with pytest.raises(UserError, match=r"train\.lpips\.linear is '/absent\.pth', and there is no such file"):
        vae_measures(WHOLE, LPIPSSettings(linear="/absent.pth"))
