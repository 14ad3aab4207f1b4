"""Two processes on a real Ray: killed and started again, stopped by what the user has to mend, refused if too many."""

from pathlib import Path

import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Recipe
from jobs.train_cluster import Processes, spread
from tests.jobs.cluster_walk import STEPS, train_and_die_once, walk
from tests.training.moving_shapes import pack_shapes
from training.checkpoint import CheckpointStore
from training.metrics import Metrics
from training.stages import StageSettings, TrainSettings
from training.trained import CHECKPOINTS, newest_run

pytestmark = pytest.mark.slow


def losses(folder: Path) -> list[float]:
    return CheckpointStore(Workspace(str(folder)), "run", "walk").state(STEPS)["losses"]


def attempts(folder: Path) -> list[str]:
    return (folder / "attempts").read_text().splitlines()


def test_a_killed_process_costs_no_loss(local_ray, tmp_path: Path, capsys) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for folder, dies_at in ((killed, 8), (undisturbed, None)):
        folder.mkdir()
        given = {"folder": str(folder), "dies_at": dies_at}
        spread(walk, given, Processes(2, restarts=1), Workspace(str(folder)))
    assert losses(killed) == losses(undisturbed)
    assert len(losses(killed)) == STEPS
    assert attempts(undisturbed) == ["0"]
    first, second = attempts(killed)
    assert first == "0"
    assert second in ("3", "6"), "the save of step 6 may or may not have been whole when its writer died"
    shown = capsys.readouterr()
    assert f"walk: 2 processes from step {second}\n" in shown.out
    assert "restart 1 of 1" in shown.err
    assert not list(killed.glob("ray_train*"))


def test_what_the_user_has_to_mend_is_not_tried_again(local_ray, tmp_path: Path) -> None:
    given = {"folder": str(tmp_path), "fault_at": 5}
    with pytest.raises(UserError, match="process 1 went wrong: lower the rate"):
        spread(walk, given, Processes(2, restarts=3), Workspace(str(tmp_path)))
    assert attempts(tmp_path) == ["0"]


def test_without_a_restart_left_the_message_says_how_to_go_on(local_ray, tmp_path: Path) -> None:
    given = {"folder": str(tmp_path), "dies_at": 5}
    with pytest.raises(UserError, match=r"stopped after 0 restarts; run it again, which continues.*--restarts"):
        spread(walk, given, Processes(2), Workspace(str(tmp_path)))


def test_more_processes_than_the_cluster_has_are_refused_with_the_numbers(local_ray, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs 5000 workers.*lower --processes"):
        spread(walk, {}, Processes(5000), Workspace(str(tmp_path)))


def test_the_whole_loop_goes_on_after_a_killed_process_with_the_same_losses(local_ray, tmp_path: Path, capsys) -> None:
    stage = StageSettings(
        name="vae", objective="vae", shards={"image": 1}, steps=6, batch=4, crop_px=16, checkpoint_every=2
    )
    recipe = Recipe(train=TrainSettings(threads=1, stages=(stage,), tensorboard=False, keep_last=10))
    found = {}
    for name in ("killed", "undisturbed"):
        workspace, marker = Workspace(str(tmp_path / name)), tmp_path / "marker"
        pack_shapes(workspace, "image", count=8)
        given = {"recipe": recipe.model_dump_json(), "workspace": workspace.uri}
        spread(
            train_and_die_once,
            given | ({"marker": str(marker)} if name == "killed" else {}),
            Processes(2, restarts=1),
            workspace,
        )
        rows = Metrics(workspace, CHECKPOINTS, newest_run(workspace), "metrics.jsonl").rows
        found[name] = [(row["step"], row["loss"], row["gradient_norm"]) for row in rows if row["kind"] == "step"]
        if name == "killed":
            assert marker.exists()
            assert "restart 1 of 1" in capsys.readouterr().err
    assert found["killed"] == found["undisturbed"]
    assert [step for step, _, _ in found["killed"]] == [1, 2, 3, 4, 5, 6]
