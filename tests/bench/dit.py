"""How much time does a training step of the transformer take beside diffusers' implementation, with the same weights?

    python -m tests.bench.dit

    python -m tests.bench.dit --preset 50m     another shape than the default

One image, 64 valid text tokens, float32: forward and backward. diffusers' network gets what its users give it, text
padded to 256 tokens and a mask; ours gets the 64. Both are run in turn, on one thread and then on two, and their
outputs compared. The default network is 512 wide with 4 heads of 128 channels, 2 + 4 blocks and the released widths of
text: 48.5 M parameters.

A line of every size: CPU seconds of the process and wall seconds, minima, and the least floating-point operations that
each needs. The last line is JSON for programs: ratios of CPU time on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.flops import count_flops
from model.presets import DIT_PRESETS, DiTConfig
from tests.model.reference import answer, reference_of
from tests.model.seeded import inputs, randomised

DEFAULT = DiTConfig(hidden_size=512, num_heads=4, num_dual_blocks=2, num_single_blocks=4, guidance=False)
# Latent sizes (time, height, width) by image tokens: 256 x 256, 256 x 320 and 512 x 640 pixels.
SIZES = {256: (1, 32, 32), 320: (1, 32, 40), 1280: (1, 64, 80)}
VALID_TEXT, PADDED_TEXT = 64, 256
TOLERANCE = 5e-6

Step = Callable[[], Tensor]


def timed_s(step: Step, network: nn.Module) -> tuple[float, float, Tensor]:
    """CPU seconds of the process and wall seconds of a forward and backward, and the velocity."""
    network.zero_grad()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    velocity = step()
    velocity.square().mean().backward()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s, velocity.detach()


def compare(steps: Sequence[tuple[Step, nn.Module]], rounds: int) -> list[tuple[float, float]]:
    """Least CPU and wall seconds of each step, run in turn; fails where the answers differ."""
    for step, network in steps:
        timed_s(step, network)
    runs = []
    for _ in range(rounds):
        (*ours, velocity), (*theirs, expected) = (timed_s(*each) for each in steps)
        torch.testing.assert_close(velocity, expected, rtol=0, atol=TOLERANCE)
        runs.append((ours, theirs))
    return [(min(run[at][0] for run in runs), min(run[at][1] for run in runs)) for at in range(2)]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dit", description=__doc__)
    parser.add_argument("--preset", choices=sorted(DIT_PRESETS), help="without: the default network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="the first gives the ratios")
    options = parser.parse_args(arguments)
    config = DIT_PRESETS[options.preset] if options.preset else DEFAULT
    ours = randomised(config)
    theirs = reference_of(ours)
    ratios: dict[str, float] = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        for tokens, size in SIZES.items():
            given = inputs(config, [size], [VALID_TEXT])
            pair = (
                (lambda given=given: torch.stack(ours(*given)), ours),
                (lambda given=given: torch.stack(answer(theirs, *given, padded_length=PADDED_TEXT)), theirs),
            )
            (cpu_s, wall_s), (their_cpu_s, their_wall_s) = compare(pair, options.rounds)
            least, padded = (count_flops(config, [tokens], [text]).training() for text in (VALID_TEXT, PADDED_TEXT))
            print(
                f"{tokens} image tokens, {threads} thread(s): CPU {cpu_s:.3f} s to {their_cpu_s:.3f} s, "
                f"{cpu_s / their_cpu_s:.3f} x; wall {wall_s:.3f} s to {their_wall_s:.3f} s, "
                f"{wall_s / their_wall_s:.3f} x; operations {least / 1e9:.0f} to {padded / 1e9:.0f} GFLOP, "
                f"{least / padded:.3f} x",
                flush=True,
            )
            ratios.setdefault(f"ratio_{tokens}", round(cpu_s / their_cpu_s, 3))
    print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
