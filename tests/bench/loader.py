"""Cached samples per CPU-second: latent shards through our loader, and the same shards through plain webdataset.

    python -m tests.bench.loader [--samples 256]

A sample is 557 KB: a posterior whose mean and logvar together are as many bytes as a latent of 16 x 9 x 32 x 32 in
float16, and 256 x 512 text states. Ours reads in the seeded order of a training stage, in batches of 8, through
`StepLoader` and `LatentLibrary`; webdataset 1.0.2 walks the tars in their order and decodes safetensors members with
the library of that name. Three forms of each, since what is counted decides the ratio:

    as delivered   what the loop gets: ours are views of the memory map, theirs tensors made from the bytes they read
    copied         ours also copied into memory of the consumer's own (theirs are that already)
    float32        both converted

Both run in this process with the files in the page cache, in alternating rounds; figures are minima of CPU time, all
threads together. Then the share of a 20 ms step that the loop waits for its batch. Last line: JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor
from webdataset.autodecode import handle_extension
from webdataset.compat import WebDataset

from curation.records import Shard
from curation.shards import ShardItem, point_to, write_shard
from curation.tables import Workspace
from model.text import TextState
from training.data import ClipLibrary, PackedClip, Sample, SampleStream
from training.encoding import EncodeKey, LatentLibrary
from training.latent_shards import Encoding, to_member, write_empty, write_latent_shard
from training.loader import StepLoader
from training.stages import StageSettings

SOURCE, PER_SHARD, BATCH, ROUNDS, STEP_S, NUM_STEPS = "video", 16, 8, 7, 0.02, 200
KEY = EncodeKey({"VAE scaling": "0.476986"})


def _encoding(seed: int) -> Encoding:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).half()

    return Encoding(drawn(16, 9, 32, 16), drawn(16, 9, 32, 16), (TextState(drawn(256, 512), drawn(768)),), (0,))


def _write(workspace: Workspace, num_samples: int) -> list[str]:
    """Packed shards with members of no use, and their latent shards; returns the paths of the latter."""
    facts = {"width": 128, "height": 256, "num_frames": 33, "frame_rate": 8.0, "caption": {"short": "a"}, "scores": {}}
    facts |= {"caption_by": "bench", "kept_by": "gates"}
    paths: list[str] = []
    shards: list[Shard] = []
    for start in range(0, num_samples, PER_SHARD):
        ids = [f"clip{number:06d}" for number in range(start, start + PER_SHARD)]
        shard, _ = write_shard(
            workspace, SOURCE, f"shard{start:06d}", "bucket", [ShardItem(one, b"no video", facts) for one in ids]
        )
        shards.append(shard)
        members = [to_member(one, _encoding(start + place), {"clip_id": one}) for place, one in enumerate(ids)]
        written = write_latent_shard(workspace, KEY.id, shard.shard_id, (shard.uri, shard.sha256), members)
        paths.append(str(workspace.local_path(written.uri)))
    workspace.table("shards").append("all", shards)
    point_to(workspace, SOURCE, [shard.shard_id for shard in shards])
    text = _encoding(0).texts[0]
    write_empty(workspace, KEY.id, {"image": text, "video": text})
    return paths


def _fetcher(library: LatentLibrary, dtype: torch.dtype | None) -> Callable[[Sample], list[Tensor]]:
    """Reads a sample; copies it as `dtype` where one is given."""

    def fetch(sample: Sample) -> list[Tensor]:
        text = library.text(sample.clip, 0)
        tensors = [*library.posterior(sample.clip), text.states, text.pooled]
        return tensors if dtype is None else [tensor.to(dtype, copy=True) for tensor in tensors]

    return fetch


def _to_float(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "safetensors": {name: tensor.float() for name, tensor in sample["safetensors"].items()}}


def _planned(clips: Sequence[PackedClip], num_batches: int) -> Iterator[list[Sample]]:
    stream = SampleStream({SOURCE: clips}, StageSettings(name="bench", shards={SOURCE: 1}), 0)
    return (stream.next_samples(BATCH) for _ in range(num_batches))


def _cpu_s(run: Callable[[], int], expected: int) -> float:
    """CPU seconds per sample, all threads of this process."""
    started_s = time.process_time()
    count = run()
    used_s = time.process_time() - started_s
    assert count == expected, f"{count} samples of {expected}"
    return used_s / count


def main(num_samples: int) -> dict[str, float]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        paths = _write(workspace, num_samples)
        clips = ClipLibrary(workspace, [SOURCE])
        library = LatentLibrary(workspace, clips, KEY, [SOURCE])
        num_batches = num_samples // BATCH
        delivered, copied, as_float = (_fetcher(library, dtype) for dtype in (None, torch.float16, torch.float32))

        def ours(fetch: Callable[[Sample], list[Tensor]]) -> int:
            loader = StepLoader(fetch, _planned(clips.clips[SOURCE], num_batches), num_workers=0)
            return sum(len(fetched) for _, fetched in loader)

        def plainly() -> int:
            batches = _planned(clips.clips[SOURCE], num_batches)
            return sum(bool(delivered(sample)) for batch in batches for sample in batch)

        def theirs(convert: bool) -> int:
            dataset: Any = WebDataset(paths, shardshuffle=False).decode(handle_extension("safetensors", load))
            if convert:
                dataset = dataset.map(_to_float)
            return sum(1 for _ in dataset)

        first = _cpu_s(partial(ours, delivered), num_samples)  # with every checksum
        runs: dict[str, Callable[[], int]] = {
            "ours": partial(ours, delivered),
            "ours, without the thread": plainly,
            "webdataset": partial(theirs, False),
            "ours, copied": partial(ours, copied),
            "ours, float32": partial(ours, as_float),
            "webdataset, float32": partial(theirs, True),
        }
        rounds = [{name: _cpu_s(run, num_samples) for name, run in runs.items()} for _ in range(ROUNDS)]
        best = {name: min(one[name] for one in rounds) for name in runs}
        print(f"samples per CPU-second, {num_samples} of 557 KB, best of {ROUNDS} alternating rounds")
        print(f"  {1 / first:9.0f}  ours, first epoch, every checksum verified")
        for name, seconds in best.items():
            print(f"  {1 / seconds:9.0f}  {name}")
        stall = _stall_share(as_float, clips.clips[SOURCE])
        print(f"  waiting for {100 * stall:.2f}% of a step of {1000 * STEP_S:.0f} ms with {BATCH} samples")
    ratio = best["webdataset"] / best["ours"]
    ratio_copied = best["webdataset"] / best["ours, copied"]
    ratio_float = best["webdataset, float32"] / best["ours, float32"]
    return {
        "ratio_to_webdataset": round(ratio, 2),
        "ratio_copied": round(ratio_copied, 2),
        "ratio_float32": round(ratio_float, 2),
        "stall_share": round(stall, 4),
    }


def _stall_share(fetch: Callable[[Sample], list[Tensor]], clips: Sequence[PackedClip]) -> float:
    loader = StepLoader(fetch, _planned(clips, NUM_STEPS), num_workers=0)
    started_s = time.perf_counter()
    for _ in loader:
        time.sleep(STEP_S)
    return loader.stall_s / (time.perf_counter() - started_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our loader beside plain webdataset.")
    parser.add_argument("--samples", type=int, default=256)
    print(json.dumps(main(parser.parse_args().samples)))
