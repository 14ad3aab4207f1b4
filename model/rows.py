"""Packed rows: where each sample's tokens lie, which of them share a vector, and which of them this process holds.

    video row   [ clean | noisy .... ][ noisy ...... ]       image-to-video sample 0, text-to-video sample 1
    text row    [ text . ][ text ... ]
    joint row   [ clean | noisy .... text . ][ noisy ...... text ... ]
                  `-v-'   `------v--------'    `---------v---------'
                  vec 0'       vec 0                   vec 1

A *group* is a stretch of tokens that one conditioning vector modulates. A sample is one group, or two if its first
latent frame is clean: that frame's tokens are modulated as at t = 0 (the token-replace variant of HunyuanVideo-I2V).

A process holds every group whole, or a share of each group (sequence parallelism). Which one a `RowSplit` decides, and
only attention has to know: all else in the network treats tokens one by one.

Legend: S tokens of the row, H heads, E channels of one head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor

from model.attention import Backend, segment_attention
from model.rope import Rotation

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


class RowSplit(Protocol):
    """How the groups of a packed row are shared out to processes. `lengths` are always those of whole groups."""

    def held(self, lengths: Sequence[int]) -> tuple[int, ...]:
        """Tokens of each group that this process holds."""
        ...

    def take(self, row: Tensor, lengths: Sequence[int]) -> Tensor:
        """The held part of a row that every process has whole (along dimension 0)."""
        ...

    def gather(self, held: Tensor, lengths: Sequence[int]) -> Tensor:
        """Undo `take`: the whole row, on every process."""
        ...

    def attention(self, samples: Sequence[Sequence[int]]) -> Attention:
        """Attention over held joint rows, in which every token sees all tokens of its sample, held or not.

        samples: the lengths of each sample's groups (video groups, then text). The function returned takes query, key
        and value [S, H, E] of the held joint row and gives [S, H * E].
        """
        ...


@dataclass(frozen=True)
class WholeRows:
    """The `RowSplit` of a process that holds everything; `backend` names how it attends (see model/attention.py)."""

    backend: Backend | None = None

    def held(self, lengths: Sequence[int]) -> tuple[int, ...]:
        return tuple(lengths)

    def take(self, row: Tensor, lengths: Sequence[int]) -> Tensor:
        return row

    def gather(self, held: Tensor, lengths: Sequence[int]) -> Tensor:
        return held

    def attention(self, samples: Sequence[Sequence[int]]) -> Attention:
        return partial(segment_attention, lengths=tuple(map(sum, samples)), backend=self.backend)


@dataclass(frozen=True)
class Layout:
    """Where the held tokens of each sample lie.

    groups: per sample, the held video tokens of each of its groups. text: per sample, the held text tokens.
    rotation: of the held joint row; text tokens have the identity. attend: attention over the held joint row.
    """

    groups: tuple[tuple[int, ...], ...]
    text: tuple[int, ...]
    rotation: Rotation
    attend: Attention

    @property
    def video(self) -> tuple[int, ...]:
        """Video tokens per sample."""
        return tuple(map(sum, self.groups))

    @property
    def video_groups(self) -> tuple[int, ...]:
        """Video tokens per group."""
        return tuple(chain.from_iterable(self.groups))

    @property
    def joint_groups(self) -> tuple[int, ...]:
        """Tokens of the joint row per group: text belongs to the last group of its sample."""
        pairs = zip(self.groups, self.text, strict=True)
        return tuple(chain.from_iterable((*clean, noisy + text) for (*clean, noisy), text in pairs))

    def join(self, video: Tensor, text: Tensor) -> Tensor:
        """Interleave a video row and a text row, sample by sample, into the joint row (along dimension 0)."""
        pairs = zip(video.split(list(self.video)), text.split(list(self.text)), strict=True)
        return torch.cat([piece for pair in pairs for piece in pair])

    def part(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `join`: the video row and the text row."""
        pieces = joint.split([length for pair in zip(self.video, self.text, strict=True) for length in pair])
        return torch.cat(pieces[0::2]), torch.cat(pieces[1::2])


def lay_out(
    groups: Sequence[tuple[int, ...]], text: Sequence[int], rotations: Sequence[Rotation], split: RowSplit
) -> Layout:
    """Layout of whole samples under a split; `rotations` are those of each sample's video tokens."""
    spans = list(chain.from_iterable(groups))
    cos, sin = (split.take(torch.cat(parts), spans) for parts in zip(*rotations, strict=True))
    held = Layout(
        tuple(split.held(sample) for sample in groups),
        split.held(text),
        Rotation(cos, sin),
        split.attention([(*sample, length) for sample, length in zip(groups, text, strict=True)]),
    )
    still = cos.new_zeros(sum(held.text), cos.shape[1])
    return replace(held, rotation=Rotation(held.join(cos, still + 1), held.join(sin, still)))
