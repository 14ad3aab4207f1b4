"""Let torchvision import beside a CPU build of torch.

torchvision 0.28's wheels link CUDA libraries; without them its compiled part does not load, and then its own
`_meta_registrations` fails on two operators that nobody declared, which takes open_clip, timm, peft and parts of
transformers down with it. Declaring the two schemas is enough (`nms` itself still refuses to run, with torchvision's
own message). The declaration must happen before anybody's first import of torchvision, so `install()` puts a finder
at the front of `sys.meta_path` that waits for that import; torch is not imported before then. Where the compiled part
loads (a CUDA machine), nothing is declared.

Call it in the `__init__` of each package that may import torchvision, directly or not: `curation` and `model`.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_declared: list[Any] = []  # keeps the torch.library.Library alive: its operators end with it


def _declare_missing_operators(spec: importlib.machinery.ModuleSpec) -> None:
    import torch

    if spec.origin is None:
        return
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))
    except (OSError, ImportError):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)


class _TorchvisionFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torchvision")
        if spec is not None:
            _declare_missing_operators(spec)
        return spec


def install() -> None:
    """Wait for the first look at torchvision; does nothing if that has been, or a finder waits already."""
    # `_declared` too: transformers and diffusers look for torchvision's spec without importing it.
    waits = any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path)
    if "torchvision" in sys.modules or _declared or waits:
        return
    sys.meta_path.insert(0, _TorchvisionFinder())
