"""How much memory a stage of the transformer will take, before its first step: refused by numbers, not by a crash.

Per process, in bytes; P weights, p bytes of each (4, or 2 with bfloat16 and master_weights = false), D the width,
b bytes of a number in compute, S tokens of a micro-batch with text, divided by the processes that share a sample:

    weights      p P / (shards x context)        average    4 P divided likewise, 0 with ema = 0
    gradients    p P / the same; 4 P more while micro-batches add up before processes do (FSDP2)
    moments      adamw 8 P, adamw8bit 2.06 P, muon p P, divided as weights
    gathered     two blocks, b bytes each weight (FSDP2 only)
    kept         b D S (20 dual + 40 single blocks), units of D per token and block by checkpointing, `KEPT`
    working      b D S units of a block computed again, its gradients, and what lies around the blocks
    updating     six float32 numbers of each weight of the largest tensor, when nothing is kept
    swapped      p P divided likewise while the average is measured in their place, when gradients are gone

Measured, not derived: `KEPT` and `WORKING` are what lived after a forward and at the peak of a backward, storage by
storage, per token and block (eager; what `torch.compile` fuses is less). A test holds the sum to 15 % of the real peak.

Fine-tuning all 12.8 G weights on one card of 141 GB (139.8 GiB), adamw8bit, bfloat16 without master weights, full
checkpointing, 256 text tokens, GiB; a running mean (ema > 0) adds 47.8:

    tokens    weights  gradients  moments   kept  working    total    with offload_activations
     4,352       23.9       23.9     24.6    1.6      1.5     76.9     75.4
    30,360       23.9       23.9     24.6   10.5      7.7     92.1     81.9; with the mean 129.7
   118,800       23.9       23.9     24.6   40.9     30.0    144.7    105.2

The reserve of `RESERVED` for the context, kernels and fragmentation is part of every total.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache

import psutil
import torch
from torch import nn

from curation.records import UserError
from model.dit import VideoDiT
from model.presets import DiTConfig
from training.data import PackedClip
from training.parallel_settings import ParallelSettings
from training.planner import video_tokens
from training.stages import LoRASettings, StageSettings

GIB = 2**30
RESERVED = 3 * GIB // 2
BLOCK_SCALES = 8 / 128  # adamw8bit: two float32 scales per 128 weights

# Units of D numbers per token that one dual and one single block keep from forward to backward, by checkpointing.
KEPT = {
    "none": {2: (31.1, 29.1), 4: (27.1, 22.1)},
    "selective": {2: (11.1, 10.0), 4: (11.1, 10.0)},
    "full": {2: (1.0, 1.0), 4: (1.0, 1.0)},
}
AROUND = 6.0
BACKWARD = 7.9  # beyond what is kept, at the peak of a block's backward


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one process at its peak, for micro-batches of one bucket."""

    bucket: str
    tokens: int
    weights: int
    gradients: int
    moments: int
    average: int
    swapped: int
    gathered: int
    kept: int
    working: int
    updating: int

    @property
    def total(self) -> int:
        """All that must fit at once."""
        lasting = self.weights + self.moments + self.average + self.gathered
        return RESERVED + lasting + max(self.gradients + max(self.kept + self.working, self.updating), self.swapped)


@dataclass(frozen=True)
class _Sizes:
    """Weights of a network: all, of its largest block, of its largest tensor, and those that learn."""

    weights: int
    block: int
    tensor: int
    learning: int


@cache
def _sizes(config: DiTConfig, lora: LoRASettings | None) -> _Sizes:
    with torch.device("meta"):
        model = VideoDiT(config)
    weights = sum(weight.numel() for weight in model.parameters())
    block = max(sum(w.numel() for w in each.parameters()) for each in (*model.double_blocks, *model.single_blocks))
    learning = weights
    if lora:
        named = (module for name, module in model.named_modules() if re.fullmatch(lora.targets, name))
        layers = [module for module in named if isinstance(module, nn.Linear)]
        learning = sum(lora.rank * (layer.in_features + layer.out_features) for layer in layers)
    return _Sizes(weights, block, max(weight.numel() for weight in model.parameters()), learning)


def estimate_memory(
    config: DiTConfig,
    stage: StageSettings,
    parallel: ParallelSettings,
    tokens: int,
    world_size: int = 1,
    micro_batches: int = 1,
    bucket: str = "",
) -> MemoryEstimate:
    """What one process needs for micro-batches of `tokens`, video and text together.

    micro_batches: of a process in a step.
    """
    sizes = _sizes(config, stage.lora)
    number = 2 if parallel.precision == "bfloat16" else 4
    kept_number = 2 if number == 2 and not parallel.master_weights else 4
    spread = world_size > 1 or (number == 2 and parallel.master_weights)
    parts = max(1, world_size // parallel.replicas)
    moments = {"adamw": 8.0, "adamw8bit": 2 + BLOCK_SCALES, "muon": float(kept_number)}[stage.optimizer]
    gradients = kept_number * sizes.learning // parts
    if spread and micro_batches > 1:
        gradients += 4 * sizes.learning
    unit = number * config.hidden_size * -(-tokens // parallel.context)
    dual, single = KEPT[parallel.checkpointing][number]
    kept = config.num_dual_blocks * dual + config.num_single_blocks * single
    if parallel.offload_activations:
        kept = min(kept, 2 * max(dual, single))
    again = 0.0 if parallel.checkpointing == "none" else KEPT["none"][number][0] - max(dual, single)
    working = unit * (AROUND + BACKWARD + again)
    return MemoryEstimate(
        bucket=bucket,
        tokens=tokens,
        weights=kept_number * sizes.weights // parts,
        gradients=gradients,
        moments=int(moments * sizes.learning) // parts,
        average=4 * sizes.learning // parts if stage.ema else 0,
        swapped=kept_number * sizes.learning // parts if stage.ema else 0,
        gathered=2 * number * sizes.block if spread else 0,
        kept=int(unit * kept),
        working=int(working),
        updating=6 * 4 * sizes.tensor // parts,
    )


def estimate_buckets(
    config: DiTConfig,
    stage: StageSettings,
    parallel: ParallelSettings,
    clips: Sequence[PackedClip],
    text_tokens: int,
    world_size: int = 1,
) -> list[MemoryEstimate]:
    """One estimate for every size of clip, the largest total first; a micro-batch as full as the planner makes it."""
    num_ranks = max(1, world_size // parallel.context)
    largest: dict[str, tuple[int, int]] = {}
    for clip in clips:
        tokens = video_tokens(clip)
        share = stage.batch_tokens // num_ranks if stage.batch_tokens else -(-stage.batch // num_ranks) * tokens
        number = max(1, (stage.micro_batch_tokens or share) // tokens)
        largest[f"{clip.width}x{clip.height}x{clip.num_frames}"] = (number * (tokens + text_tokens), share)
    estimates = [
        estimate_memory(config, stage, parallel, tokens, world_size, -(-share // max(1, tokens)), bucket)
        for bucket, (tokens, share) in largest.items()
    ]
    return sorted(estimates, key=lambda each: (-each.total, each.bucket))


def available_bytes(device: torch.device) -> int:
    """Memory that is free on the device now, before anything of the stage lies there."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def check_fits(
    config: DiTConfig,
    stage: StageSettings,
    parallel: ParallelSettings,
    clips: Sequence[PackedClip],
    text_tokens: int,
    available: int,
    world_size: int = 1,
) -> list[MemoryEstimate]:
    """The estimates of all buckets, if they fit in `available` bytes of this process's device.

    Processes that share a host's memory share what is available: divide it by their number.

    Raises:
        UserError: the largest does not fit; with all numbers, and what each remedy would bring it down to.
    """
    estimates = estimate_buckets(config, stage, parallel, clips, text_tokens, world_size)
    if estimates[0].total <= available:
        return estimates
    remedies = []
    for text, changed_stage, changed in _remedies(stage, parallel, clips):
        total = estimate_buckets(config, changed_stage, changed, clips, text_tokens, world_size)[0].total
        if total < estimates[0].total:
            fits = "fits" if total <= available else "still too much"
            remedies.append(f"    {text:<44} {_gib(total)} GiB, {fits}")
    raise UserError(
        f"stage {stage.name!r} needs {_gib(estimates[0].total).strip()} GiB a process, {_gib(available).strip()} GiB "
        f"are free; per bucket in GiB:\n{memory_table(estimates)}\nwhat each change alone would make of it:\n"
        + "\n".join(remedies or ["    (no single change helps)"])
        + "\nmore processes help, too: train.parallel shards share out weights, ulysses and ring a sample's tokens"
    )


def _remedies(
    stage: StageSettings, parallel: ParallelSettings, clips: Sequence[PackedClip]
) -> list[tuple[str, StageSettings, ParallelSettings]]:
    """Changes of a recipe that save memory, as words and as settings; the last takes all of them."""
    fewest = max(video_tokens(clip) for clip in clips)
    stages = {
        f"micro_batch_tokens = {fewest}": {"micro_batch_tokens": fewest},
        'optimizer = "adamw8bit"': {"optimizer": "adamw8bit"},
        "ema = 0": {"ema": 0.0},
    }
    splits = {
        'train.parallel checkpointing = "full"': {"checkpointing": "full"},
        "train.parallel offload_activations = true": {"offload_activations": True},
        "bfloat16 with master_weights = false": {"precision": "bfloat16", "master_weights": False},
    }
    every_stage = {key: value for change in stages.values() for key, value in change.items()}
    every_split = {key: value for change in splits.values() for key, value in change.items()}
    found = [(text, stage.model_copy(update=change), parallel) for text, change in stages.items()]
    found += [(text, stage, parallel.model_copy(update=change)) for text, change in splits.items()]
    return [
        *found,
        ("all of these", stage.model_copy(update=every_stage), parallel.model_copy(update=every_split)),
    ]


def memory_table(estimates: Sequence[MemoryEstimate]) -> str:
    """A line per bucket: tokens, then GiB of each part and of the whole."""
    names = [field.name for field in fields(MemoryEstimate)][2:]
    lines = [f"    {'bucket':<18}{'tokens':>9}" + "".join(f"{name:>11}" for name in [*names, "total"])]
    for each in estimates:
        values = [asdict(each)[name] for name in names] + [each.total]
        lines.append(f"    {each.bucket:<18}{each.tokens:>9,}" + "".join(f"{_gib(value):>11}" for value in values))
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
