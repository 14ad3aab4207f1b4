"""One sample from its order: noise from the seed, Euler steps, VAE, files and row; as a worker of the engine, many.

    Order --text encoders, first frame--> conditions --+
    seed  --> noise latent ----------------------------+--> steps --> latent --VAE, tile by tile--> mp4 (png), json, row

Decoded frames go into the file as they come, so memory does not grow with length where the decode is tiled in time.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from curation.drawing import png
from curation.records import UserError
from curation.tables import Sample, Workspace
from jobs.engine import Item, Outcome
from jobs.generators import Source, open_networks
from jobs.prompts import Ask

if TYPE_CHECKING:
    from torch import Tensor

    from jobs.generate import GenerateSettings
    from training.trained import TrainedNetworks

FOLDER, PICTURES = "samples", "pictures"
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """A sample to make: what was asked, what the network reads, and where its first frame lies in the workspace."""

    sample_id: str
    ask: Ask
    rewritten: str = ""
    picture_uri: str = ""

    @property
    def read(self) -> str:
        """The prompt that the text encoders get."""
        return self.rewritten or self.ask.prompt


class UnreadablePicture(UserError):
    """A first frame that is no picture."""

    reason = "unreadable picture"


def read_picture(data: bytes, name: str) -> np.ndarray:
    """uint8 RGB [H, W, 3] of a picture file, turned as it says.

    Raises:
        UnreadablePicture: it is none.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise UnreadablePicture(f"{name} is no picture that can be read (PNG, JPEG, WebP ...)")
    return np.ascontiguousarray(picture[..., ::-1])


def fit_picture(picture: np.ndarray, width: int, height: int) -> tuple[np.ndarray, str]:
    """Scale a picture until it covers width x height and crop its centre; returns what was done, in words, too."""
    old_height, old_width = picture.shape[:2]
    scale = max(width / old_width, height / old_height)
    size = max(width, round(old_width * scale)), max(height, round(old_height * scale))
    if size != (old_width, old_height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    cut = f", {size[0] - width} px of its width and {size[1] - height} px of its height cut off"
    said = f"{old_width}x{old_height} scaled by {scale:.3g}{cut if size != (width, height) else ''}"
    return np.ascontiguousarray(picture[top : top + height, left : left + width]), said


class Sampler:
    """Holds the networks of a source. The same order gives the same frames."""

    def __init__(self, workspace: Workspace, source: Source, settings: "GenerateSettings", pictures: bool) -> None:
        self.workspace, self.source, self.settings = workspace, source, settings
        self.sees = pictures and settings.picture_in_text and source.sees_pictures
        self.networks: TrainedNetworks = open_networks(workspace, source, settings, self.sees)

    def latent(self, order: Order, on_step: OnStep = lambda step, total: None) -> "Tensor":
        """The finished latent [C, T, H, W] in the DiT's scale, float32.

        Raises:
            UnreadablePicture: its first frame is none.
        """
        import torch

        from model.sampler import sample

        settings, ask, networks = self.settings, order.ask, self.networks
        picture = self._picture(order)
        config = networks.vae.config
        shape = (
            config.latent_channels,
            (ask.num_frames - 1) // config.temporal_compression + 1,
            ask.height // config.spatial_compression,
            ask.width // config.spatial_compression,
        )
        text, negative = self._text(order, picture)
        (latent,) = sample(
            networks.dit,
            [shape],
            [text.states],
            text.pooled[None],
            settings.steps,
            settings.shift,
            torch.Generator().manual_seed(ask.seed),
            guidance=settings.guidance if networks.dit.config.guidance else None,
            cfg_scale=settings.cfg_scale,
            negative=negative,
            progress=on_step,
            first=None if picture is None else [self._first(picture)],
            bfloat16_guidance=settings.bfloat16_guidance,
        )
        return latent

    def frames(self, latent: "Tensor") -> Iterator[np.ndarray]:
        """The frames of a latent, uint8 RGB [H, W, 3], each as soon as it is decoded."""
        from training.samples import frames_of

        return frames_of(self.networks.vae, latent, self._tiling())

    def make(self, order: Order, on_step: OnStep = lambda step, total: None) -> Sample:
        """Sample, and write the video and its facts; the row that is returned is for the caller to write, last."""
        return self.write(order, self.latent(order, on_step))

    def write(self, order: Order, latent: "Tensor") -> Sample:
        """Write a latent's video, its picture if it is one, and the facts; returns the row."""
        from curation.transcode import write_frames

        row, settings, ask = row_of(order, self.source, self.settings), self.settings, order.ask
        facts = facts_of(row, self.source)
        frames = self.frames(latent)
        if ask.num_frames == 1:
            (still,) = frames
            self.workspace.write_bytes(png(still[..., ::-1]), FOLDER, f"{order.sample_id}.png")
            frames = iter([still])
        comment = json.dumps(facts, ensure_ascii=False)
        self.workspace.write_bytes(
            write_frames(frames, settings.frame_rate, comment=comment), FOLDER, f"{order.sample_id}.mp4"
        )
        self.workspace.write_bytes(json.dumps(facts, indent=1).encode(), FOLDER, f"{order.sample_id}.json")
        return row

    def _text(self, order: Order, picture: np.ndarray | None) -> tuple[Any, Any]:
        """States of the prompt, and of the negative prompt where guidance asks for them."""
        import torch

        settings, kind = self.settings, "image" if order.ask.num_frames == 1 else "video"
        shown = black = None
        if picture is not None and self.sees:
            shown = [torch.from_numpy(picture).permute(2, 0, 1)]
            black = [torch.zeros_like(shown[0])]
        (text,) = self.networks.text.encode([order.read], kind, pictures=shown)
        if settings.cfg_scale == 1.0:
            return text, None
        return text, self.networks.text.encode([settings.negative_prompt], kind, pictures=black)[0]

    def _picture(self, order: Order) -> np.ndarray | None:
        if not order.picture_uri:
            return None
        picture = read_picture(self.workspace.read_bytes(order.picture_uri), order.ask.image)
        return fit_picture(picture, order.ask.width, order.ask.height)[0]

    def _first(self, picture: np.ndarray) -> "Tensor":
        """A picture as the clean first latent frame [C, 1, H, W]."""
        import torch

        vae = self.networks.vae
        pixels = torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1
        with torch.no_grad():
            posterior = vae.encode(pixels[None, :, None].to(next(vae.parameters())), self._tiling())
            return vae.to_latent(posterior.mode())[0].float()

    def _tiling(self) -> Any:
        from model.tiling import TILINGS

        return None if self.settings.tiling == "none" else TILINGS[self.settings.tiling]


class SampleWorker:
    """The engine's worker: networks are loaded once, an item is one order."""

    def __init__(self, workspace_uri: str, source: Source, settings: "GenerateSettings", pictures: bool) -> None:
        self.sampler = Sampler(Workspace(workspace_uri), source, settings, pictures)

    def __call__(self, item: Item) -> Outcome:
        return Outcome({"samples": [self.sampler.make(order) for order in item.inputs.values()]})


def row_of(order: Order, source: Source, settings: "GenerateSettings") -> Sample:
    """The row of `samples` that an order becomes."""
    ask = order.ask
    how = settings.shaping() | {"width": ask.width, "height": ask.height, "num_frames": ask.num_frames}
    uri = f"{FOLDER}/{order.sample_id}.mp4"
    shaped = json.dumps(how, sort_keys=True)
    return Sample(order.sample_id, uri, ask.prompt, ask.seed, shaped, source.label, order.rewritten, order.picture_uri)


def facts_of(row: Sample, source: Source) -> dict[str, Any]:
    """What stands beside a sample and in its file: all that is needed to make it again."""
    return {
        "sample_id": row.sample_id,
        "prompt": row.prompt,
        "rewritten": row.rewritten,
        "seed": row.seed,
        "image": row.image,
        "settings": json.loads(row.settings),
        "run_id": source.run_id,
        "stage": source.stage,
        "weights_sha256": source.weights_sha256,
    }
