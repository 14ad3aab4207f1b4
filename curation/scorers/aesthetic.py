"""Aesthetic: how much people like the look of a frame, the mean over the clip's frames; about 1 to 10.

    bgr --centre crop--> CLIP image tower --> unit vector [D] --> linear layers --> one number

The head is LAION's aesthetic predictor, linear or the deeper "improved" one: both are chains of linear layers without
anything between them, so any state dict of that kind fits. Heads and towers belong together: LAION's 768-wide heads
were trained on OpenAI's ViT-L/14, whose activation is the quick GELU, so its name here ends in `-quickgelu`. Absolute
values do not transfer between heads; choose thresholds on your own footage. ViT-L/14 takes about 1 s an image on a core
in fp32, 0.5 s in bf16.
"""

import importlib.util
import itertools
import json
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.records import UserError
from curation.scorer import ClipFrames, Direction
from curation.video import FrameSpec, fingerprint


class AestheticSettings(BaseModel, frozen=True, extra="forbid"):
    model: str = Field(default="ViT-L-14-quickgelu", description="an open_clip model name, or the path of its JSON")
    pretrained: str = Field(
        default="", description="path of the CLIP weights (.pt or .safetensors); nothing is fetched"
    )
    head: str = Field(default="", description="path of the head's state dict (.pth or .safetensors)")
    fps: float = Field(default=0.5, gt=0, description="frames looked at per second; the first is always looked at")
    short_side_px: int = Field(default=224, ge=16, description="at least the model's input size")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16 is 2-4 times as fast on most CPUs")
    device: str = Field(default="cpu", description="a torch device")


class AestheticScorer:
    settings_class: ClassVar[type[BaseModel]] = AestheticSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "predicted rating"
    low: ClassVar[float] = 1.0
    high: ClassVar[float] = 10.0

    def __init__(self, settings: AestheticSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")

    @cached_property
    def version(self) -> str:
        weights = [
            fingerprint(str(Path(path).resolve()))[:8] for path in (self.settings.pretrained, self.settings.head)
        ]
        name = Path(self.settings.model).stem
        return f"1/{name}-{'-'.join(weights)}-{self.settings.precision}-{self.settings.fps:g}fps"

    def missing(self) -> str | None:
        if importlib.util.find_spec("open_clip") is None:
            return "the package open_clip_torch is not installed"
        for setting, what in (("pretrained", "CLIP weights"), ("head", "aesthetic head")):
            path = getattr(self.settings, setting)
            if not path:
                return (
                    f"the {what}: set score.options.aesthetic.{setting} to the path of a file, "
                    "or leave aesthetic out of score.scorers"
                )
            if not Path(path).is_file():
                return f"the {what}: score.options.aesthetic.{setting} is {path!r}, and there is no such file"
        if self.settings.model.endswith(".json") and not Path(self.settings.model).is_file():
            return (
                f"the CLIP model: score.options.aesthetic.model is {self.settings.model!r}, and there is no such file"
            )
        return None

    def load(self) -> None:
        """Read tower and head.

        Raises:
            UserError: weights are missing, or tower, head and input size do not fit each other.
        """
        if lacking := self.missing():  # open_clip itself would go on with random weights
            raise UserError(f"aesthetic lacks {lacking}")
        import torch

        self._visual = _image_tower(self.settings).to(self.settings.device)
        self._layers = [
            (weight.to(self.settings.device), bias.to(self.settings.device))
            for weight, bias in _linear_layers(Path(self.settings.head))
        ]
        self._size_px = int(np.max(self._visual.image_size))
        if self._size_px > self.settings.short_side_px:
            raise UserError(
                f"{self.settings.model} looks at {self._size_px} px, more than score.options.aesthetic.short_side_px, "
                f"{self.settings.short_side_px}; set that to {self._size_px}"
            )
        with torch.inference_mode():
            width = self._embed(np.zeros((1, self._size_px, self._size_px, 3), np.uint8)).shape[1]
        if width != self._layers[0][0].shape[1]:
            raise UserError(
                f"the head {self.settings.head} takes vectors of {self._layers[0][0].shape[1]}, but "
                f"{self.settings.model} gives {width}: they are not of the same family"
            )

    def __call__(self, clip: ClipFrames) -> float:
        import torch

        assert clip.bgr is not None
        with torch.inference_mode():
            value = self._embed(clip.bgr)
            for weight, bias in self._layers:
                value = value @ weight.T + bias
        return float(value.mean())

    def _embed(self, bgr: np.ndarray) -> Any:
        """uint8 [T, H, W, 3] to unit vectors float32 [T, D]."""
        import torch

        pictures = torch.from_numpy(np.stack([_square(picture, self._size_px) for picture in bgr]))
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in _normalisation(self._visual))
        pixels = (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
        device = torch.device(self.settings.device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            vectors = self._visual(pixels.to(device)).float()
        return vectors / vectors.norm(dim=-1, keepdim=True)


def _square(picture: np.ndarray, size_px: int) -> np.ndarray:
    """BGR [H, W, 3] to RGB [size, size, 3]: the centre of the picture, its short side kept whole."""
    rows, columns = picture.shape[:2]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    centre = picture[top : top + side, left : left + side]
    return cv2.cvtColor(cv2.resize(centre, (size_px, size_px), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def _normalisation(visual: Any) -> tuple[Any, Any]:
    import open_clip

    mean, deviation = visual.image_mean, visual.image_std
    return mean or open_clip.OPENAI_DATASET_MEAN, deviation or open_clip.OPENAI_DATASET_STD


def _image_tower(settings: AestheticSettings) -> Any:
    import open_clip

    name = settings.model
    if name.endswith(".json"):
        open_clip.add_model_config(name)
        name = Path(name).stem
    if open_clip.get_model_config(name) is None:
        raise UserError(f"open_clip has no model {name!r}; give one of its names or the path of a model's JSON")
    try:
        model: Any = open_clip.create_model(name, pretrained=settings.pretrained)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"the weights {settings.pretrained} do not fit the model {name}: {error}") from error
    return model.visual.eval()


def _linear_layers(path: Path) -> list[tuple[Any, Any]]:
    """Weight [out, in] and bias [out] of each linear layer of a head, in order, float32."""
    import torch
    from safetensors.torch import load_file

    state = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    )
    names = [name for name in state if name.endswith("weight")]
    names.sort(key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])
    layers = [(state[name].float(), state[name.removesuffix("weight") + "bias"].float()) for name in names]
    sizes = [tuple(weight.shape) for weight, _ in layers]
    fits = all(before[0] == after[1] for before, after in itertools.pairwise(sizes))
    if not layers or not fits or sizes[-1][0] != 1:
        raise UserError(
            f"{path} is no aesthetic head: expected linear layers that end in one number, found {json.dumps(sizes)}"
        )
    return layers
