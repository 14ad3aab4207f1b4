"""One open_clip model a process: its two towers give pictures and texts as unit vectors of one space.

    bgr [T] --few of them, centre crop--> image tower --> unit vectors [n, D]   once a clip, whoever asks for them
    texts   --tokens----------------> text tower  --> unit vectors [N, D]       cosine of both: how well they fit

Several scorers and the embedder `clip` ask for the same model, so it is loaded once, and a clip's frames are embedded
once (`ClipFrames.once`). At most `max_frames` of a clip are looked at, each from the middle of its share of the clip:
cost stays the same for long clips, and fades at the ends are not looked at. ViT-L/14 takes about 1 s an image on a core
in fp32, 0.5 s in bf16; both towers hold 1.7 GB. The method is Radford et al. 2021 ("Learning Transferable Visual Models
From Natural Language Supervision"). Nothing is ever fetched.
"""

import importlib.util
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.records import UserError
from curation.scorer import ClipFrames, lacking_file
from curation.source import fingerprint
from curation.video import FrameSpec

MODELS_KEPT = 2  # per process; a recipe seldom names more than one


class TowerSettings(BaseModel, frozen=True, extra="forbid"):
    """Which model looks at which frames; those who give equal settings share the model and its vectors."""

    model: str = Field(default="ViT-L-14-quickgelu", description="an open_clip model name, or the path of its JSON")
    pretrained: str = Field(
        default="", description="path of the CLIP weights (.pt or .safetensors); nothing is fetched"
    )
    fps: float = Field(default=1.0, gt=0, description="frames decoded per second; the first is always there")
    max_frames: int = Field(default=3, ge=1, description="most frames looked at, spread over the clip")
    short_side_px: int = Field(default=224, ge=16, description="at least the model's input size")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16 is 2-4 times as fast on most CPUs")
    device: str = Field(default="cpu", description="a torch device")

    @property
    def frames(self) -> FrameSpec:
        return FrameSpec(self.fps, self.short_side_px, planes="bgr")

    @property
    def tower_version(self) -> str:
        """What the vectors depend on: model, weights, precision and the frames; the files must be there."""
        files = [self.pretrained, *([self.model] if self.model.endswith(".json") else [])]
        prints = "-".join(fingerprint(str(Path(path).resolve()))[:8] for path in files)
        looks = f"{self.fps:g}fps-{self.max_frames}frames-{self.short_side_px}px"
        return f"{Path(self.model).stem}-{prints}-{self.precision}-{looks}"

    def lacking(self, name: str) -> str | None:
        """What is not there, in words, for the options of the scorer or embedder `name`; None if nothing is."""
        if importlib.util.find_spec("open_clip") is None:
            return "the package open_clip_torch is not installed"
        if self.model.endswith(".json") and not Path(self.model).is_file():
            return f"the CLIP model: score.options.{name}.model is {self.model!r}, and there is no such file"
        return lacking_file(self.pretrained, f"score.options.{name}.pretrained", "the CLIP weights")


Asked = TypeVar("Asked", bound=TowerSettings)


class TowerJudge(Generic[Asked]):
    """What scorers and embedders share that look through the tower of their settings."""

    name: ClassVar[str]  # as in a recipe
    settings_class: ClassVar[type[BaseModel]]

    def __init__(self, settings: Asked) -> None:
        self.settings, self.frames = settings, settings.frames

    @cached_property
    def version(self) -> str:
        return f"1/{self.settings.tower_version}"

    def missing(self) -> str | None:
        return self.settings.lacking(self.name)

    def load(self) -> None:
        """Read the model.

        Raises:
            UserError: weights are missing, do not fit the model, or the frames are smaller than what it looks at.
        """
        self._tower = tower_of(self.settings, self.name)


class Tower:
    """A loaded model. Ask `tower_of` for one."""

    def __init__(self, model: str, pretrained: str, precision: str, device: str) -> None:
        self.name, self._precision, self._device = model, precision, device
        self._model = _model(model, pretrained).to(device).eval()
        self._tokens: Any = None
        self.size_px = int(np.max(self._model.visual.image_size))
        self.width = self.images(np.zeros((1, self.size_px, self.size_px, 3), np.uint8)).shape[1]

    @property
    def logit_scale(self) -> float:
        """Factor on cosines before a softmax over texts; learned, 100 in released models."""
        return float(self._model.logit_scale.exp().detach())

    def images(self, bgr: np.ndarray) -> np.ndarray:
        """Unit vectors float32 [T, D] of pictures uint8 [T, H, W, 3]."""
        import torch

        pictures = torch.from_numpy(np.stack([_square(picture, self.size_px) for picture in bgr]))
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in _normalisation(self._model.visual))
        pixels = (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
        return self._unit(self._model.encode_image, pixels)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [N, D]; what exceeds the model's context (77 tokens in CLIP) is not read.

        Raises:
            UserError: the model's tokenizer is not part of open_clip and would have to be fetched.
        """
        if self._tokens is None:
            self._tokens = _tokenizer(self.name, self._model.context_length)
        return self._unit(self._model.encode_text, self._tokens(list(texts)))

    def _unit(self, encode: Any, inputs: Any) -> np.ndarray:
        import torch

        device = torch.device(self._device)
        enabled = self._precision == "bf16"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            vectors = encode(inputs.to(device)).float()
            return (vectors / vectors.norm(dim=-1, keepdim=True)).cpu().numpy()


def tower_of(settings: TowerSettings, name: str) -> Tower:
    """The model of these settings, loaded by the first who asks; `name` is the scorer or embedder, for messages.

    Raises:
        UserError: weights are missing, do not fit the model, or the frames are smaller than what it looks at.
    """
    if lacking := settings.lacking(name):  # open_clip itself would go on with random weights
        raise UserError(f"{name} lacks {lacking}")
    weights = Path(settings.pretrained).resolve()
    written_ns = weights.stat().st_mtime_ns
    tower = _tower(settings.model, str(weights), settings.precision, settings.device, written_ns)
    if tower.size_px > settings.short_side_px:
        raise UserError(
            f"{settings.model} looks at {tower.size_px} px, more than score.options.{name}.short_side_px, "
            f"{settings.short_side_px}; set that to {tower.size_px}"
        )
    return tower


def looked_at(clip: ClipFrames, max_frames: int) -> list[int]:
    """Indices of at most `max_frames` frames, each from the middle of an equal share of the clip."""
    num_frames = len(clip.times_s)
    num_shares = min(num_frames, max_frames)
    return [int((share + 0.5) * num_frames / num_shares) for share in range(num_shares)]


def frame_vectors(clip: ClipFrames, tower: Tower, settings: TowerSettings) -> np.ndarray:
    """Unit vectors float32 [n, D] of the frames of `looked_at`; computed once a clip."""
    bgr = clip.bgr
    assert bgr is not None
    key = ("clip", settings.model, settings.pretrained, settings.precision, settings.device, settings.max_frames)
    return clip.once(key, lambda: tower.images(bgr[looked_at(clip, settings.max_frames)]))


@lru_cache(maxsize=MODELS_KEPT)
def _tower(model: str, pretrained: str, precision: str, device: str, written_ns: int) -> Tower:
    del written_ns  # part of the key: a file that was written again is another model
    return Tower(model, pretrained, precision, device)


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


def _config(name: str) -> tuple[str, dict[str, Any]]:
    """The name by which open_clip knows a model, and its configuration."""
    import open_clip

    if name.endswith(".json"):
        open_clip.add_model_config(name)
        name = Path(name).stem
    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"open_clip has no model {name!r}; give one of its names or the path of a model's JSON")
    return name, config


def _model(name: str, pretrained: str) -> Any:
    import open_clip

    known_as, _ = _config(name)
    try:
        return open_clip.create_model(known_as, pretrained=pretrained)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"the weights {pretrained} do not fit the model {known_as}: {error}") from error


def _tokenizer(name: str, context_length: int) -> Any:
    import open_clip

    known_as, config = _config(name)
    fetched = config.get("text_cfg", {}).get("hf_tokenizer_name")
    if fetched and not Path(fetched).is_dir():
        raise UserError(
            f"{known_as} reads texts with the tokenizer {fetched!r}, which is not part of open_clip; choose a model "
            "with CLIP's own, or give a JSON whose text_cfg.hf_tokenizer_name is a folder"
        )
    return open_clip.get_tokenizer(known_as, context_length=context_length)
