"""Subject consistency: whether what a video shows keeps its looks, by DINO; VBench's formula (curation/consistency.py).

    a few frames, 224 lines --DINO ViT--> class token, unit vectors --> mean cosine with the first and the one before

DINO (Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers") was trained to tell pictures of
one kind apart, where CLIP calls both "a dog". VBench takes its ViT-B/16 (`dino_vitbase16_pretrain.pth`) and every
frame, this `max_frames` of them, spread over the clip. The networks are timm's vision transformers; weights are a file
of yours, nothing is fetched. Pictures keep their shape, so positions are interpolated as timm does. A core takes about
0.1 s a frame with ViT-B/16. A picture that stands still has 1, so it is read beside `dynamics`.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.clip_tower import looked_at
from curation.consistency import drawn, to_first_and_previous
from curation.records import UserError
from curation.scorer import ClipFrames, Direction, lacking_file
from curation.source import fingerprint
from curation.video import FrameSpec


class SubjectConsistencySettings(BaseModel, frozen=True, extra="forbid"):
    network: str = Field(default="vit_base_patch16_224.dino", description="a vision transformer of timm, by its name")
    weights: str = Field(default="", description="path of its state dict (.pth or .safetensors); nothing is fetched")
    fps: float = Field(default=8.0, gt=0, description="frames decoded per second; the first is always there")
    max_frames: int = Field(default=16, ge=2, description="most frames looked at, spread over the clip")
    short_side_px: int = Field(default=224, ge=16, description="size that frames are looked at")
    device: str = Field(default="cpu", description="a torch device")


class SubjectConsistencyScorer:
    settings_class: ClassVar[type[BaseModel]] = SubjectConsistencySettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "cosine"
    low: ClassVar[float] = 0.7
    high: ClassVar[float] = 1.0

    def __init__(self, settings: SubjectConsistencySettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")

    @cached_property
    def version(self) -> str:
        given = self.settings
        weights = fingerprint(str(Path(given.weights).resolve()))[:8]
        return f"1/{given.network}-{weights}-{given.fps:g}fps-{given.max_frames}frames-{given.short_side_px}px"

    def missing(self) -> str | None:
        what = f"the weights of {self.settings.network}"
        return lacking_file(self.settings.weights, "score.options.subject_consistency.weights", what)

    def load(self) -> None:
        """Read the network.

        Raises:
            UserError: the weights are missing, or not those of this network, or timm knows no such transformer.
        """
        if lacking := self.missing():
            raise UserError(f"subject_consistency lacks {lacking}")
        self._network = _network(self.settings.network, Path(self.settings.weights)).to(self.settings.device)

    def __call__(self, clip: ClipFrames) -> float:
        return float(to_first_and_previous(self._vectors(clip)).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """The frames that were looked at, each with how it fits the first and the one before."""
        assert clip.bgr is not None
        return drawn(clip.bgr[looked_at(clip, self.settings.max_frames)], self._vectors(clip))

    def _vectors(self, clip: ClipFrames) -> np.ndarray:
        """Unit vectors float32 [n, D] of the frames that are looked at."""
        import torch

        assert clip.bgr is not None
        facts = self._network.pretrained_cfg
        patch = self._network.patch_embed.patch_size[0]
        mean, deviation = (np.array(facts[name], np.float32) for name in ("mean", "std"))
        vectors = []
        for index in looked_at(clip, self.settings.max_frames):
            picture = cv2.cvtColor(np.ascontiguousarray(clip.bgr[index]), cv2.COLOR_BGR2RGB)
            rows, columns = (max(patch, size - size % patch) for size in picture.shape[:2])
            if (rows, columns) != picture.shape[:2]:  # whole patches; the rest at the right and below is left out
                picture = cv2.copyMakeBorder(
                    picture[:rows, :columns],
                    *(0, max(0, rows - picture.shape[0]), 0, max(0, columns - picture.shape[1])),
                    cv2.BORDER_REPLICATE,
                )
            pixels = torch.from_numpy((picture.astype(np.float32) / 255 - mean) / deviation).permute(2, 0, 1)
            with torch.inference_mode():
                vector = self._network(pixels[None].to(self.settings.device))[0].float()
            vectors.append((vector / vector.norm().clamp(min=1e-12)).cpu().numpy())
        return np.stack(vectors)


def _network(name: str, path: Path) -> Any:
    import timm
    import torch
    from safetensors.torch import load_file

    try:
        network = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"timm makes no vision transformer {name!r} ({error}); give a name such as vit_base_patch16_224.dino"
        ) from error
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        network.load_state_dict(state)
    except Exception as error:
        raise UserError(f"{path} does not hold the weights of timm's {name}: {error}") from error
    return network.eval()
