"""What an embedder is: one unit vector about one clip, from frames that somebody else decoded.

    ClipFrames(spec) --> Embedder --> float32 [D], length 1        cosine of two clips: how alike they are

Vectors are for comparing clips with clips: near duplicates and concepts (`curation/groups.py`). Adding one is adding a
file to `embedders/` with `<Name>Settings` and `<Name>Embedder`; it is made, loaded and called like a scorer.
"""

from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel

from curation import embedders
from curation.named_modules import class_named, settings_named
from curation.scorer import ClipFrames
from curation.video import FrameSpec


class Embedder(Protocol):
    """Made by `Embedder(settings)`, which is cheap; `load` reads weights; then it is called once per clip."""

    settings_class: ClassVar[type[BaseModel]]

    @property
    def version(self) -> str:
        """Changes when the same clip may get another vector: code, settings, weights."""
        ...

    @property
    def frames(self) -> FrameSpec: ...

    def missing(self) -> str | None:
        """What weights or packages are not there and how to give them, in words, or None. Loads nothing."""
        ...

    def load(self) -> None:
        """Read weights, once, before the first call."""
        ...

    def __call__(self, clip: ClipFrames) -> np.ndarray:
        """The clip's unit vector, float32 [D]; D is the same for all clips."""
        ...


def embedder_class(name: str) -> type[Any]:
    """The class of `embedders/<name>.py`.

    Raises:
        UserError: there is no such file.
    """
    return class_named(embedders, name, "Embedder")


def make_embedder(name: str, options: dict[str, Any]) -> Embedder:
    """The embedder, not yet loaded.

    Raises:
        UserError: unknown embedder or setting, or a value out of range.
    """
    return embedder_class(name)(settings_named(embedders, name, "Embedder", options))


def embedder_version(name: str, options: dict[str, Any]) -> str:
    """The version of the vectors that these options give; weights must be there, so ask `missing` first."""
    return make_embedder(name, options).version
