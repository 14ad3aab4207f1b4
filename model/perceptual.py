"""LPIPS: how different two pictures look, as a distance between what a trained VGG16 sees in them.

    picture --shift, scale--> VGG16 --relu1_2, 2_2, 3_3, 4_3, 5_3--> features, each cell's vector scaled to length 1
    distance = sum over layers of  mean over cells of  sum over channels of  weight * (difference of features)^2

The weights, one per channel and never negative, were fitted to people's judgements (arXiv 1801.03924, s3 and version
0.1 of the authors' weights). Distances of pictures that look alike are under 0.1, of unrelated ones about 0.6. **With
other than the published weights the number means nothing.** Nothing is downloaded: a person gives two files,

    backbone   torchvision's vgg16, `features.0.weight` ... `features.28.bias` (a classifier beside it is left unread)
    linear     the authors' lin/vgg, `lin0.model.1.weight` ... `lin4.model.1.weight`, each [1, channels, 1, 1]

Videos are judged frame by frame. A frame of 256 x 256 keeps about 130 MB of activations, so a few are worked on at a
time and their gradient is taken at once (`early_gradient`): memory does not grow with the clip, and nothing is
computed twice. All weights are frozen; gradients reach the first video only.

Legend: B batch, C channels, T H W frames and pixels, N frames of all videos.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from model.early_gradient import early_gradient
from model.weight_files import PICKLE_SUFFIXES, open_weights

# Torchvision's names of VGG16's convolutions, and channels. A layer's last one is compared, then cells are pooled.
LAYERS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)
SHIFT = (-0.030, -0.088, -0.188)  # of pictures in [-1, 1]: version 0.1's rounding of ImageNet's mean and deviation
SCALE = (0.458, 0.448, 0.450)
LENGTH_EPS = 1e-10
MIN_SIDE_PX = 16  # pooled four times
CHUNK_PX = {"cpu": 1 << 17, "cuda": 1 << 21}  # pixels of the frames that are worked on together; one frame at least


class LPIPS(nn.Module):
    """The distance, with weights that mean nothing until `open_lpips` has read the published ones."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        self.linear = nn.ParameterList()
        inputs = 3
        for layer in LAYERS:
            for name, channels in layer:
                self.features[str(name)] = nn.Conv2d(inputs, channels, 3, padding=1)
                inputs = channels
            self.linear.append(nn.Parameter(torch.ones(inputs)))
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
        """Distance of each frame of two videos in [-1, 1], [B, T]; gradients flow to `x_BCTHW` alone.

        Raises ValueError for shapes that differ, are no colour videos, or are under 16 px.
        """
        shape = list(x_BCTHW.shape)
        if shape != list(y_BCTHW.shape) or len(shape) != 5 or shape[1] != 3 or min(shape[3:]) < MIN_SIDE_PX:
            raise ValueError(
                f"LPIPS compares two videos [B, 3, T, H, W] of one shape with sides of {MIN_SIDE_PX} px or more, "
                f"got {shape} and {list(y_BCTHW.shape)}"
            )
        x_NCHW, y_NCHW = (rearrange(video, "b c t h w -> (b t) c h w") for video in (x_BCTHW, y_BCTHW))
        limit = CHUNK_PX.get(x_NCHW.device.type, CHUNK_PX["cuda"])
        at_once = max(limit // (shape[3] * shape[4]), 1)
        return early_gradient(self._distance, x_NCHW, y_NCHW, at_once=at_once).view(shape[0], shape[2])

    def _distance(self, x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
        """Layer by layer for both pictures, so that no features are kept but those that a gradient needs: [N]."""
        x, y = ((picture.to(self.shift.dtype) - self.shift) / self.scale for picture in (x_NCHW, y_NCHW))
        distance_N = x.new_zeros(len(x))
        for number, (layer, weight_C) in enumerate(zip(LAYERS, self.linear, strict=True)):
            if number:
                x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
            for name, _ in layer:
                convolution = self.features[str(name)]
                x, y = F.relu_(convolution(x)), F.relu_(convolution(y))
            difference = (_unit(x) - _unit(y)).square()
            distance_N = distance_N + F.conv2d(difference, weight_C[None, :, None, None]).mean(dim=(1, 2, 3))
        return distance_N


def _unit(features_NCHW: Tensor) -> Tensor:
    """A cell that nothing fires at stays zero, and gets no gradient that is not a number."""
    return F.normalize(features_NCHW.to(torch.promote_types(features_NCHW.dtype, torch.float32)), dim=1, eps=LENGTH_EPS)


def open_lpips(backbone: str | Path, linear: str | Path) -> LPIPS:
    """LPIPS with the weights of two files, .safetensors or a `.pth` of tensors only; nothing is downloaded.

    Raises:
        ValueError: a file is missing or damaged or wants to run code, or lacks a tensor, or has one of another shape
            or a negative weight; says what was given and what is expected.
    """
    network = LPIPS()
    what = "the backbone of LPIPS (torchvision's vgg16)"
    names = [name for name in network.state_dict() if name.startswith("features.")]
    stored = _read_tensors(backbone, what)
    found = {name: _tensor(stored, name, network.get_parameter(name).shape, backbone, what) for name in names}
    what = "the linear layers of LPIPS v0.1 (its vgg.pth)"
    stored = _read_tensors(linear, what)
    for number, weight in enumerate(network.linear):
        name = f"lin{number}.model.1.weight"
        values = _tensor(stored, name, torch.Size((1, len(weight), 1, 1)), linear, what)
        if not (values >= 0).all():
            raise ValueError(f"{linear}: '{name}' has a negative weight, {what} have none")
        found[f"linear.{number}"] = values.flatten()
    network.load_state_dict(found)
    return network.eval().requires_grad_(False)


def _read_tensors(path: str | Path, what: str) -> Mapping[str, Tensor]:
    """By name. Torchvision's and LPIPS's files are older than the zip format that `open_weights` reads lazily."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected {what}, as .safetensors or .pth")
    if path.suffix not in PICKLE_SUFFIXES:
        stored = open_weights(path)
        return {name: stored.read(name) for name in stored.tensors}
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path} is damaged or holds more than tensors ({said}); expected {what}") from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds {type(loaded).__name__}, expected a dict of tensors by name: {what}")
    return loaded


def _tensor(stored: Mapping[str, Tensor], name: str, shape: torch.Size, path: str | Path, what: str) -> Tensor:
    values = stored.get(name)
    if values is None:
        some = ", ".join(sorted(stored)[:3])
        raise ValueError(f"{path} has no tensor '{name}' and is not {what}; it has {some or 'none'}, ...")
    if not isinstance(values, Tensor) or values.shape != shape:
        given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{path}: '{name}' is {given}, but {what} has {list(shape)} there")
    return values.float()
