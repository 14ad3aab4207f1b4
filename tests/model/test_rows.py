"""Packed rows: what lies where, and which tokens share a vector."""

import torch

from model.rope import Rotation
from model.rows import Layout, WholeRows, lay_out


def _rotation(tokens: int) -> Rotation:
    return Rotation(torch.full((tokens, 1), 0.6), torch.full((tokens, 1), 0.8))


def _layout(groups: list[tuple[int, ...]], text: list[int]) -> Layout:
    return lay_out(groups, text, [_rotation(sum(sample)) for sample in groups], WholeRows())


def test_a_joint_row_holds_video_then_text_of_each_sample_and_parts_again() -> None:
    layout = _layout([(2,), (1,)], [1, 3])
    video, text = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0]])
    joint = layout.join(video, text)
    assert joint.flatten().tolist() == [1, 2, -1, 3, -2, -3, -4]
    parted = layout.part(joint)
    assert torch.equal(parted[0], video) and torch.equal(parted[1], text)


def test_text_belongs_to_the_noisy_group_of_its_sample() -> None:
    layout = _layout([(4, 8), (6,)], [3, 5])
    assert layout.video == (12, 6)
    assert layout.video_groups == (4, 8, 6)
    assert layout.joint_groups == (4, 11, 11)


def test_video_tokens_turn_and_text_tokens_stay() -> None:
    layout = _layout([(1, 1), (1,)], [1, 2])
    assert [round(cos, 1) for cos in layout.rotation.cos.flatten().tolist()] == [0.6, 0.6, 1.0, 0.6, 1.0, 1.0]
    assert [round(sin, 1) for sin in layout.rotation.sin.flatten().tolist()] == [0.8, 0.8, 0.0, 0.8, 0.0, 0.0]


def test_attention_stays_inside_a_sample_and_crosses_its_groups() -> None:
    layout = _layout([(1, 2), (2,)], [1, 1])
    q, k, v = torch.randn(3, 7, 2, 4)
    for start, stop in ((0, 4), (4, 7)):
        scores = torch.einsum("qhe,khe->hqk", q[start:stop], k[start:stop]) / 2
        expected = torch.einsum("hqk,khe->qhe", scores.softmax(dim=-1), v[start:stop]).flatten(1)
        torch.testing.assert_close(layout.attend(q, k, v)[start:stop], expected)
