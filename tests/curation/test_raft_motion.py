from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import optical_flow

from curation.records import UserError
from curation.scorers.raft_motion import RaftMotionScorer, RaftMotionSettings
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture


def ready(folder: Path, **given: object) -> RaftMotionScorer:
    scorer = RaftMotionScorer(RaftMotionSettings(**{**tiny_options("raft_motion", folder), **given}))
    scorer.load()
    return scorer


def test_the_value_is_the_network_s_flow_in_short_sides_per_second(tmp_path: Path) -> None:
    scorer = ready(tmp_path)
    pictures = [texture(seed, (160, 128)) for seed in range(2)]
    network = optical_flow.raft_small()
    network.load_state_dict(torch.load(tmp_path / "raft.pth", weights_only=True))
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        flow = network.eval()(images[:1], images[1:], num_flow_updates=1)[-1][0]
    expected = float(flow.norm(dim=0).mean()) / 128 / 0.25
    assert scorer(clip_of(pictures, scorer.frames, step_s=0.25)) == pytest.approx(expected, rel=1e-4)


def test_pairs_do_not_depend_on_their_batch(tmp_path: Path) -> None:
    pictures = [texture(seed, (150, 130)) for seed in range(3)]
    values = [
        scorer(clip_of(pictures, scorer.frames)) for scorer in (ready(tmp_path), ready(tmp_path, pairs_at_once=1))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_missing_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    assert "set score.options.raft_motion.weights" in str(RaftMotionScorer(RaftMotionSettings()).missing())
    absent = RaftMotionScorer(RaftMotionSettings(weights=str(tmp_path / "absent.pth")))
    assert "absent.pth', and there is no such file" in str(absent.missing())
    with pytest.raises(UserError, match="raft_motion lacks the weights of raft_large"):
        absent.load()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"raft\.pth does not hold the weights of torchvision's raft_large"):
        ready(tmp_path, network="raft_large")


def test_other_weights_are_another_version(tmp_path: Path) -> None:
    version = ready(tmp_path).version
    torch.manual_seed(1)
    torch.save(optical_flow.raft_small().state_dict(), tmp_path / "other.pth")
    assert ready(tmp_path, weights=str(tmp_path / "other.pth")).version != version


def test_a_single_frame_cannot_be_judged(tmp_path: Path) -> None:
    scorer = ready(tmp_path)
    with pytest.raises(ValueError, match=r"1 frames over 0\.00 s have no two within 0\.3 s"):
        scorer(clip_of([texture(0, (160, 128))], scorer.frames))
