"""RAFT motion: how fast the picture moves, like `motion` and in its unit, by a network instead of DIS.

    pairs of frames, RGB --RAFT--> flow [2, H, W] px --> |flow| / short side / (t' - t) --> mean

RAFT (Teed and Deng 2020, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow") is right where DIS guesses: in
flat places, behind thin things, at fast motion. The networks are torchvision's; their weights (such as
`raft_large_C_T_SKHT_V2-ff5fadd5.pth` of the PyTorch hub) are a file of yours, nothing is fetched. One core takes 0.6 s
a pair with the small network at 144 lines, so this is meant for a GPU. The device is CUDA where torch finds one; it
changes no more than the last digits, so it is not part of the version.
"""

import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.records import UserError
from curation.scorer import ClipFrames, Direction, lacking_file
from curation.source import fingerprint
from curation.video import FrameSpec

STRIDE_PX = 8  # RAFT wants sides that are multiples of it,
SMALLEST_PX = 128  # and at least this long


class RaftMotionSettings(BaseModel, frozen=True, extra="forbid"):
    network: Literal["raft_small", "raft_large"] = Field(default="raft_large", description="of torchvision")
    weights: str = Field(default="", description="path of its state dict (.pth or .safetensors); nothing is fetched")
    fps: float = Field(default=4.0, gt=0, description="frames looked at per second; each is compared with the next")
    max_gap_s: float = Field(default=0.3, gt=0, description="frames further apart than this are not compared")
    short_side_px: int = Field(default=256, ge=32, description="size that flow is computed at")
    num_updates: int = Field(default=12, ge=1, description="rounds of refinement; 12 is torchvision's default")
    pairs_at_once: int = Field(default=4, ge=1, description="pairs in one batch; lower it if memory runs out")
    device: str = Field(default="", description="a torch device; empty is CUDA where torch finds one, else the CPU")


class RaftMotionScorer:
    settings_class: ClassVar[type[BaseModel]] = RaftMotionSettings
    direction: ClassVar[Direction] = "two-sided"
    unit: ClassVar[str] = "short sides per second"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: RaftMotionSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")

    @cached_property
    def version(self) -> str:
        given = self.settings
        weights = fingerprint(str(Path(given.weights).resolve()))[:8]
        looked_at = f"{given.fps:g}fps-{given.max_gap_s:g}s-{given.short_side_px}px"
        return f"1/{given.network}-{weights}-{given.num_updates}updates-{looked_at}"

    def missing(self) -> str | None:
        if importlib.util.find_spec("torchvision") is None:
            return "the package torchvision is not installed"
        what = f"the weights of {self.settings.network}"
        return lacking_file(self.settings.weights, "score.options.raft_motion.weights", what)

    def load(self) -> None:
        """Read the network.

        Raises:
            UserError: the weights are missing, or not those of this network.
        """
        if lacking := self.missing():
            raise UserError(f"raft_motion lacks {lacking}")
        import torch

        self._device = torch.device(self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network = _network(self.settings.network, Path(self.settings.weights)).to(self._device)

    def __call__(self, clip: ClipFrames) -> float:
        first, steps_s = self._pairs(clip)
        lengths = [lengths.mean() for lengths in self._lengths(clip, first)]
        return float(np.mean(np.array(lengths) / steps_s))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Frames above the speed of each place, dark blue still to red at one short side per second."""
        first, steps_s = self._pairs(clip)
        chosen = spread(len(first), 8)
        assert clip.bgr is not None
        pictures = []
        for pair, lengths in zip(chosen, self._lengths(clip, first[chosen]), strict=True):
            speeds = lengths / steps_s[pair]
            stacked = np.vstack([clip.bgr[first[pair]], heat(speeds, 1.0)])
            time_s = clip.times_s[first[pair]] - clip.times_s[0]
            pictures.append(captioned(stacked, f"{time_s:.1f} s  {speeds.mean():.3f} short sides/s"))
        return sheet(pictures)

    def _pairs(self, clip: ClipFrames) -> tuple[np.ndarray, np.ndarray]:
        """The first frame of each pair and its length in seconds.

        Raises:
            ValueError: there is none.
        """
        steps_s = np.diff(clip.times_s)
        first = np.flatnonzero(steps_s <= self.settings.max_gap_s)
        if not len(first):
            raise ValueError(
                f"{len(clip.times_s)} frames over {np.ptp(clip.times_s):.2f} s have no two within "
                f"{self.settings.max_gap_s:g} s of each other, so motion cannot be told"
            )
        return first, steps_s[first]

    def _lengths(self, clip: ClipFrames, first: np.ndarray) -> list[np.ndarray]:
        """How far each pixel goes from each of these frames to the next, float32 [H, W], short sides."""
        import torch

        assert clip.bgr is not None
        rows, columns = clip.bgr.shape[1:3]
        below, beside = (max(SMALLEST_PX, -(-size // STRIDE_PX) * STRIDE_PX) - size for size in (rows, columns))
        lengths: list[np.ndarray] = []
        for start in range(0, len(first), self.settings.pairs_at_once):
            some = first[start : start + self.settings.pairs_at_once]
            before, after = (
                torch.nn.functional.pad(_normalised(clip.bgr[frames]), (0, beside, 0, below), mode="replicate")
                for frames in (some, some + 1)
            )
            with torch.inference_mode():
                flow = self._network(
                    before.to(self._device), after.to(self._device), num_flow_updates=self.settings.num_updates
                )[-1][:, :, :rows, :columns]
            lengths.extend((flow.norm(dim=1) / min(rows, columns)).cpu().numpy())
        return lengths


def _normalised(bgr: np.ndarray) -> Any:
    """uint8 BGR [B, H, W, 3] to float32 RGB [B, 3, H, W] from -1 to 1, as RAFT was trained."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(0, 3, 1, 2))).float() / 127.5 - 1


def _network(name: str, path: Path) -> Any:
    import torch
    from safetensors.torch import load_file
    from torchvision.models import optical_flow

    network = getattr(optical_flow, name)()
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        network.load_state_dict(state)
    except Exception as error:
        raise UserError(f"{path} does not hold the weights of torchvision's {name}: {error}") from error
    return network.eval()
