"""What an embedder is: one unit vector about one clip, from frames that somebody else decoded.

    ClipFrames(spec) --> Embedder --> float32 [D], length 1        cosine of two clips: how alike they are

Vectors are for comparing clips with clips: near duplicates and concepts (`curation/groups.py`). Adding one is adding a
file to `embedders/` with `<Name>Settings` and `<Name>Embedder`; it is made, loaded and called like a scorer.
"""

from typing import Any, Protocol

import numpy as np

from curation import embedders
from curation.named_modules import class_named, settings_named
from curation.scorer import ClipFrames, Judge


class Embedder(Judge, Protocol):
    """A judge whose answer is a vector."""

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
