"""A tiny CLIP and aesthetic heads with seeded random weights, saved in the formats that released ones come in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import optical_flow

WIDTH = 24  # of the joint embedding
TRANSFORMER = "test_vit.r160_in1k"


def save_tiny_clip(folder: Path, image_size_px: int = 32) -> tuple[Path, Path]:
    """Model config JSON and weights (.pt) of a CLIP small enough to run in a millisecond."""
    config = folder / "tiny-clip.json"
    tower = {"width": 32, "layers": 2, "head_width": 16}
    vision = {**tower, "image_size": image_size_px, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}  # CLIP's own tokens
    config.write_text(json.dumps({"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(str(config))
    torch.manual_seed(0)
    weights = folder / "tiny-clip.pt"
    torch.save(open_clip.create_model("tiny-clip", load_weights=False).state_dict(), weights)
    return config, weights


def tiny_options(name: str, folder: Path) -> dict[str, Any]:
    """Options with which a scorer or embedder that looks with CLIP runs on the tiny one; {} for all others."""
    if name == "raft_motion":
        weights = save_random_raft(folder)
        return {"network": "raft_small", "weights": str(weights), "short_side_px": 128, "num_updates": 1, "fps": 4}
    if name == "subject_consistency":
        weights = save_random_transformer(folder)
        return {"network": TRANSFORMER, "weights": str(weights), "short_side_px": 32, "max_frames": 4}
    if name not in ("aesthetic", "background_consistency", "clip", "image_text", "nsfw"):
        return {}
    config, weights = save_tiny_clip(folder)
    given = {"model": str(config), "pretrained": str(weights), "short_side_px": 32}
    return {**given, "head": str(save_head(folder / "head.pth"))} if name == "aesthetic" else given


def save_random_raft(folder: Path) -> Path:
    """torchvision's small RAFT with seeded random weights, as a released state dict comes."""
    torch.manual_seed(0)
    weights = folder / "raft.pth"
    torch.save(optical_flow.raft_small().state_dict(), weights)
    return weights


def save_random_transformer(folder: Path) -> Path:
    """The smallest of timm's vision transformers with seeded random weights, as a released state dict comes."""
    torch.manual_seed(0)
    weights = folder / "transformer.pth"
    torch.save(timm.create_model(TRANSFORMER, num_classes=0).state_dict(), weights)
    return weights


def save_head(path: Path, widths: Sequence[int] = (WIDTH, 1), names: Sequence[str] = ("",)) -> Path:
    """Linear layers under the given prefixes; ("",) is LAION's linear head, ("layers.0.", ...) the improved one."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, width_in, width_out in zip(names, widths[:-1], widths[1:], strict=True):
        state[f"{name}weight"] = torch.randn(width_out, width_in, generator=generator)
        state[f"{name}bias"] = torch.randn(width_out, generator=generator)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path
