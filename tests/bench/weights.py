"""How much memory does converting the transformer take, against loading, renaming and saving it whole?

    python -m tests.bench.weights                # 3.3 GB: blocks of full width, fewer of them; some minutes
    python -m tests.bench.weights --full         # 25.6 GB, all 12,821,012,544 parameters; needs twice that on disk

Each runs in a process of its own over the same file in bfloat16, to diffusers' layout; memory is the process's peak
beyond what it had after its imports. The rival is what conversion scripts do: safetensors' `load_file`, the state dict
renamed, `save_file`. With `--full` only ours runs, since the rival would need 26 GB or more.

The source is a sparse file of noughts with a true header: neither way looks at values.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from model.presets import DIT_PRESETS
from model.weights import layout_links

SMALLER = {"num_dual_blocks": 2, "num_single_blocks": 4}


def write_noughts(path: Path, full: bool) -> int:
    """A DiT of full width in the original layout, without using the disk; returns its bytes."""
    from model.keys import Layout

    config = DIT_PRESETS["full"] if full else replace(DIT_PRESETS["full"], **SMALLER)
    header, reached = {}, 0
    for link in layout_links(config, Layout.ORIGINAL):
        size = 2 * torch.Size(link.shape).numel()
        header[link.name] = {"dtype": "BF16", "shape": link.shape, "data_offsets": [reached, reached + size]}
        reached += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + reached)
    return reached


def ours(source: Path, target: Path) -> None:
    """Convert as `dailies weights convert` does."""
    from model.conversion import Target, convert
    from model.keys import Layout
    from model.weight_files import open_weights
    from model.weights import identify

    convert(identify(open_weights(source)), Target(target, Layout.DIFFUSERS))


def rival(source: Path, target: Path) -> None:
    """Load all, rename all, save all."""
    from safetensors.torch import load_file, save_file

    from model.keys import Layout
    from model.weight_files import open_weights
    from model.weights import identify

    links = layout_links(identify(open_weights(source)).config, Layout.DIFFUSERS)
    state = load_file(source)
    out: dict[str, torch.Tensor] = {}
    for link in links:
        out |= zip(link.parts, (part.clone() for part in link.split(state.pop(link.name))), strict=True)
    target.mkdir()
    save_file(out, target / "diffusion_pytorch_model.safetensors")


def measure(way: str, source: Path, target: Path) -> dict[str, float]:
    """Peak memory and CPU seconds of one way in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.weights", "--way", way, str(source), str(target)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(outcome.stdout.splitlines()[-1])


def _run_one(way: str, source: Path, target: Path) -> None:
    import safetensors.torch  # noqa: F401  part of what both had before

    import model.conversion  # noqa: F401

    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    {"ours": ours, "rival": rival}[way](source, target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s = round(time.process_time() - started, 1)
    print(json.dumps({"gib": (peak - before) / 2**20, "gib_of_the_process": peak / 2**20, "cpu_s": cpu_s}))


def main() -> None:
    """Print what was measured; last line a JSON object of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--way", nargs=3, metavar=("WAY", "SOURCE", "TARGET"))
    args = parser.parse_args()
    if args.way:
        _run_one(args.way[0], Path(args.way[1]), Path(args.way[2]))
        return
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        num_bytes = write_noughts(folder / "source.safetensors", args.full)
        for way in ("ours",) if args.full else ("ours", "rival"):
            results[way] = measure(way, folder / "source.safetensors", folder / way)
            print(f"{way}: {num_bytes / 1e9:.1f} GB converted, {results[way]}", flush=True)
            for file in (folder / way).iterdir():
                file.unlink()
    ratios = {"memory_to_file": round(results["ours"]["gib"] * 2**30 / num_bytes, 4)}
    if not args.full:
        ratios["memory_ratio"] = round(results["ours"]["gib"] / results["rival"]["gib"], 4)
        ratios["cpu_ratio"] = round(results["ours"]["cpu_s"] / results["rival"]["cpu_s"], 2)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
