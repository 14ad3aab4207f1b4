"""Encode and decode in overlapping tiles, so that memory is that of one tile and not of the whole video.

    in time      |<---- tile + 1 frames ---->|                     every tile reads one frame more than its length and
                 0 1 2 3 4 ...       |<---- tile + 1 frames ---->|      drops its first result, which stands for one
                                     stride                             frame where all others stand for four
    in space     tiles of tile_px every tile_px - overlap_px, in rows

Where two tiles overlap, their results are mixed by a linear ramp, in units of what comes out: latent cells when
encoding, pixels when decoding (one peer mixed latents over an extent in pixels and lost 13 dB). A tile is mixed with
tiles that are mixed already, and only the overlap of a finished tile is kept.

Normalisation and attention see one tile instead of the clip, so **tiled latents are others than whole ones**, and the
two conventions in use differ too: the original tiles clips over 64 frames and diffusers those over 16. Whoever stores
latents stores the tiling beside them. Method: the released HunyuanVideo (arXiv 2412.03603 s4.1).

Legend: B batch, C channels, T H W frames and pixels, or latent frames and cells.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Steps:
    """Tiles along an axis: `tile` inputs every `stride`; of each result `stride_out`, mixed over `overlap_out`."""

    tile: int
    stride: int
    stride_out: int
    overlap_out: int

    def __post_init__(self) -> None:
        assert 0 <= self.overlap_out <= self.stride_out + self.overlap_out and self.stride > 0


@dataclass(frozen=True)
class Tiling:
    """Sizes of tiles and of what neighbours share, in pixels and frames of the video; a tile of 0: the axis is whole.

    Raises ValueError for an overlap that is no smaller than its tile.
    """

    tile_px: int = 256
    overlap_px: int = 64
    tile_frames: int = 64
    overlap_frames: int = 16

    def __post_init__(self) -> None:
        for tile, overlap, name in (
            (self.tile_px, self.overlap_px, "px"),
            (self.tile_frames, self.overlap_frames, "frames"),
        ):
            if tile < 0 or overlap < 0 or (tile and overlap >= tile):
                raise ValueError(
                    f"tile_{name} = {tile} with overlap_{name} = {overlap}: "
                    "an overlap is at least 0 and less than its tile; a tile of 0 leaves the axis whole"
                )

    def space(self, compression: int, *, decoding: bool) -> Steps | None:
        """Tiles along height and width of a VAE that makes one cell of `compression` pixels; None: whole."""
        return _steps(self.tile_px, self.overlap_px, compression, decoding, "px")

    def time(self, compression: int, *, decoding: bool) -> Steps | None:
        """Tiles along time of a VAE that makes one latent frame of `compression` frames; None: whole."""
        return _steps(self.tile_frames, self.overlap_frames, compression, decoding, "frames")


TILINGS = {"original": Tiling(), "diffusers": Tiling(tile_frames=16, overlap_frames=4)}


def tiles_in_space(x_BCTHW: Tensor, run: Run, steps: Steps | None) -> Tensor:
    """What `run` makes of the tiles, put together; `run` itself where no side is longer than a tile."""
    if steps is None or max(x_BCTHW.shape[-2:]) <= steps.tile:
        return run(x_BCTHW)
    height, width = x_BCTHW.shape[-2:]
    out: Tensor | None = None
    above: list[Tensor] = []
    for top in range(0, height, steps.stride):
        borders: list[Tensor] = []
        left: Tensor | None = None
        for column, start in enumerate(range(0, width, steps.stride)):
            tile = run(x_BCTHW[..., top : top + steps.tile, start : start + steps.tile])
            if above:
                _mix(above[column], tile, steps.overlap_out, dim=-2)
            if left is not None:
                _mix(left, tile, steps.overlap_out, dim=-1)
            if out is None:
                sides = [side * steps.stride_out // steps.stride for side in (height, width)]
                out = tile.new_empty(*tile.shape[:3], *sides)
            kept = tile[..., : steps.stride_out, : steps.stride_out]
            at = (top * steps.stride_out // steps.stride, start * steps.stride_out // steps.stride)
            out[..., at[0] : at[0] + kept.shape[-2], at[1] : at[1] + kept.shape[-1]] = kept
            left = _last(tile, steps.overlap_out, dim=-1)
            borders.append(_last(tile, steps.overlap_out, dim=-2))
        above = borders
    assert out is not None
    return out


def tiles_in_time(pieces: Iterable[Tensor], run: Run, steps: Steps | None) -> Iterator[Tensor]:
    """What `run` makes of a video that comes in pieces [B, C, any T, H, W], piece by piece as it is finished.

    Holds one tile of the input, one result, and the overlap of the last result. A video of no more than a tile's
    length goes through `run` whole.
    """
    source = iter(pieces)
    if steps is None:
        yield run(_joined(list(source)))
        return
    held = _filled([], source, steps.tile + 1)
    if held.shape[2] <= steps.tile:
        yield run(held)
        return
    border: Tensor | None = None
    while border is None or held.shape[2] > 1:  # one frame alone would only be dropped
        tile = run(held[:, :, : steps.tile + 1])
        if border is not None:
            tile = tile[:, :, 1:]
            _mix(border, tile, steps.overlap_out, dim=2)
        yield tile[:, :, : steps.stride_out + (border is None)]
        border = _last(tile, steps.overlap_out, dim=2)
        del tile  # it is as large as all that this holds otherwise
        held = _filled([held[:, :, steps.stride :]], source, steps.tile + 1)


def _steps(tile: int, overlap: int, compression: int, decoding: bool, unit: str) -> Steps | None:
    if tile == 0:
        return None
    if tile % compression or overlap % compression:
        raise ValueError(
            f"tile_{unit} = {tile} and overlap_{unit} = {overlap} must be multiples of {compression}, "
            "what this VAE makes one latent of"
        )
    stride, cells = tile - overlap, tile // compression
    stride_cells = stride // compression
    if decoding:
        return Steps(cells, stride_cells, stride, overlap)
    return Steps(tile, stride, stride_cells, overlap // compression)


def _mix(before: Tensor, after: Tensor, overlap: int, dim: int) -> None:
    """Ramp from the end of `before` to the start of `after`, in place; the first place is all `before`'s."""
    extent = min(before.shape[dim], after.shape[dim], overlap)
    if not extent:
        return
    shape = [1] * after.ndim
    shape[dim] = extent
    ramp = (torch.arange(extent, device=after.device, dtype=torch.float32) / extent).to(after.dtype).view(shape)
    start = after.narrow(dim, 0, extent)
    start.copy_(before.narrow(dim, before.shape[dim] - extent, extent) * (1 - ramp) + start * ramp)


def _last(tile: Tensor, overlap: int, dim: int) -> Tensor:
    """A copy, so that the tile can go."""
    extent = min(overlap, tile.shape[dim])
    return tile.narrow(dim, tile.shape[dim] - extent, extent).clone()


def _filled(held: list[Tensor], source: Iterator[Tensor], num_frames: int) -> Tensor:
    """At least so many frames, or all there are."""
    count = sum(piece.shape[2] for piece in held)
    while count < num_frames and (piece := next(source, None)) is not None:
        held.append(piece)
        count += piece.shape[2]
    return _joined(held)


def _joined(pieces: list[Tensor]) -> Tensor:
    if not pieces:
        raise ValueError("a video of no frames at all was given; it has 4n + 1 of them")
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
