"""`dailies weights`: what is in a file of weights, in another layout, or out of a training run.

    dailies weights inspect mp_rank_00_model_states.pt
    dailies weights convert mp_rank_00_model_states.pt transformer --to diffusers --dtype bfloat16
    dailies weights convert my_lora.safetensors for_comfyui.safetensors --to comfyui
    dailies weights export out.safetensors --workspace demo/workspace --to comfyui
    dailies weights export lora.safetensors --workspace demo/workspace --stage style --lora --to comfyui

Files are read and written one tensor at a time, and written beside their name until they are whole; nothing is
overwritten. A LoRA is recognised by its names. See model/weight_files.py for what is read and what is refused.
"""

import argparse
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from curation.records import UserError
from jobs.progress import Progress

if TYPE_CHECKING:
    from curation.tables import Workspace
    from model.lora_keys import Adapter
    from model.weights import NetworkWeights
    from training.checkpoint import CheckpointStore

NEEDS_RECIPE = False
LAYOUTS = ("original", "diffusers", "comfyui")
DTYPES = ("float32", "float16", "bfloat16")
GB = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    inspect = actions.add_parser("inspect", help="say what a file or folder of weights holds")
    inspect.add_argument("path", metavar="FILE|FOLDER")
    inspect.add_argument("--fast", action="store_true", help="read headers only, no digests")
    inspect.add_argument("--values", action="store_true", help="read all values and count NaN and infinite ones")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of text")
    convert = actions.add_parser("convert", help="write a network or a LoRA in another layout")
    convert.add_argument("path", metavar="SRC", help="a file or folder of weights")
    export = actions.add_parser("export", help="write the averaged weights of a finished training stage")
    export.add_argument("--workspace", required=True, metavar="DIR_OR_URI", help="folder or s3://bucket/prefix")
    export.add_argument("--run", help="training run, if not the newest")
    export.add_argument("--stage", help="finished stage, if not the last finished one of the transformer")
    export.add_argument("--lora", action="store_true", help="the low-rank updates alone, not merged into the network")
    for action in (convert, export):
        action.add_argument("target", metavar="DST", help="*.safetensors, *.pt (original layout), or a new folder")
        action.add_argument("--to", choices=LAYOUTS, required=True, help="whose names the weights get")
        action.add_argument("--dtype", choices=DTYPES, help="type of the values, if not as they are")
        action.add_argument("--shard-gb", type=float, default=10.0, help="largest file in a folder")
        action.add_argument(
            "--image-to-video", action="store_true", help="say in config.json that the first latent frame is clean"
        )
    for action in (inspect, convert):
        action.add_argument("--branch", help="which weights of a .pt that holds several: module, ema, ...")


def run(args: argparse.Namespace) -> int:
    """Carry out one action; what is wrong with the files is the user's to know."""
    try:
        return {"inspect": _inspect, "convert": _convert, "export": _export}[args.action](args)
    except ValueError as error:
        raise UserError(str(error)) from error


def _inspect(args: argparse.Namespace) -> int:
    from model.weight_facts import describe
    from model.weight_files import open_weights

    facts = describe(open_weights(args.path, args.branch), digests=not args.fast, values=args.values)
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        show(facts, Console(highlight=False))
    return 1 if "problem" in facts else 0


def show(facts: dict[str, Any], console: Console) -> None:
    """Print facts as a person reads them, one to a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _said(name, value))
    console.print(table)


def _said(name: str, value: Any) -> str:
    if name in ("parameters", "tensors"):
        return f"{value:,}"
    if name == "bytes":
        return f"{value:,} ({value / GB:.2f} GB)"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(key, inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _convert(args: argparse.Namespace) -> int:
    from model.lora_keys import is_lora
    from model.weight_files import open_weights
    from model.weights import identify

    stored = open_weights(args.path, args.branch)
    if is_lora(stored):
        return _convert_lora(args, stored)
    return _write(args, identify(stored))


def _write(args: argparse.Namespace, weights: "NetworkWeights") -> int:
    import torch

    from model.conversion import Target, convert
    from model.keys import Layout

    dtype = getattr(torch, args.dtype) if args.dtype else None
    shard_bytes = int(args.shard_gb * GB)
    target = Target(Path(args.target), Layout(args.to), dtype, shard_bytes, args.image_to_video)
    with Progress("weights", total=len(weights.links), unit="tensors") as progress:
        convert(weights, target, lambda done, total, name: progress.advance(1, name))
    parameters = sum(prod(link.shape) for link in weights.links)
    print(f"weights: {weights.naming.network.label} of {parameters:,} parameters, {args.to} layout, in {args.target}")
    return 0


def _convert_lora(args: argparse.Namespace, stored: Any) -> int:
    from model.lora_keys import read_lora

    layout, adapters = read_lora(stored)
    return _write_lora(args, adapters, f"from the {layout} to")


def _write_lora(args: argparse.Namespace, adapters: "Mapping[str, Adapter]", how: str) -> int:
    import torch

    from model.keys import Layout
    from model.lora_keys import lay_out
    from model.weight_writing import TensorSpec, write_safetensors

    if not args.target.endswith(".safetensors"):
        raise UserError(f"a LoRA is one file; give {args.target} the ending .safetensors")
    tensors = lay_out(adapters, Layout(args.to))
    if args.dtype:
        tensors = {name: tensor.to(getattr(torch, args.dtype)) for name, tensor in tensors.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])))
    specs = [TensorSpec(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    write_safetensors(Path(args.target), specs, tensors.values(), {})
    print(f"weights: LoRA of {len(adapters)} modules, {how} the {args.to} layout, in {args.target}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from jobs.storage import open_workspace
    from training.averaging import stage_weights
    from training.trained import newest_run

    workspace = open_workspace(args.workspace, writable=False)
    store = _finished_stage(workspace, args.run or newest_run(workspace), args.stage)
    if args.lora:
        return _write_lora(args, _updates(store), "in")
    with stage_weights(store) as weights:
        return _write(args, weights)


def _updates(store: "CheckpointStore") -> "Mapping[str, Adapter]":
    """The low-rank updates that a stage learned.

    Raises:
        UserError: it learned none, or they are damaged.
    """
    from training.lora import LORA, read_adapters
    from training.stages import LoRASettings

    step = max(store.steps())
    said = store.state(step)["result"].get(LORA)
    if said is None:
        raise UserError(f"stage {store.path[-1]!r} learned whole weights, not a LoRA; leave out --lora")
    return read_adapters(store.load_whole(step, LORA), LoRASettings.model_validate(said))


def _finished_stage(workspace: "Workspace", run_id: str, stage_name: str | None) -> "CheckpointStore":
    """The checkpoints of the named stage, or of the last finished stage of the transformer."""
    from training.trained import finished_stages, read_run

    settings, _ = read_run(workspace, run_id)
    stores = {stage.name: (stage.objective, store) for stage, store in finished_stages(workspace, run_id, settings)}
    wanted = stage_name or next((name for name in reversed(stores) if stores[name][0] != "vae"), None)
    if wanted not in stores:
        raise UserError(
            f"run {run_id} has no finished stage {wanted or 'of the transformer'}; "
            f"finished are: {', '.join(stores) or 'none'}"
        )
    return stores[wanted][1]
