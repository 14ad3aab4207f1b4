"""How well the device is used: operations and tokens per second, and the share of time that the step waited for data.

    MFU = floating-point operations that the model needs (model.flops, model.vae_flops) / (seconds x peak of the device)

Recomputed operations do not count, nor do padding or repeats, so MFU compares ways to train (PaLM, arXiv 2204.02311,
appendix B). The peak is the maker's for dense bfloat16, whatever the precision in use, so that numbers compare with
published ones: 38.2 % Open-Sora 2.0, 32.9 % NeMo's HunyuanVideo recipe. A CPU's is measured, by matrix products.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

PEAK_FLOPS = {  # dense, bfloat16, without sparsity; the makers' data sheets
    "B200": 2250e12,
    "GB200": 2500e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "A10": 125e12,
    "MI300X": 1307e12,
}


def device_peak_flops(device: torch.device) -> float | None:
    """Floating-point operations a second that the device can do at best; None for a card that is not in the table."""
    if device.type != "cuda":
        return measured_peak_flops(device, torch.float32)
    name = torch.cuda.get_device_name(device)
    return next((PEAK_FLOPS[key] for key in sorted(PEAK_FLOPS, key=len, reverse=True) if key in name), None)


@cache
def measured_peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """The best of ten large matrix products, with torch's present number of threads; measured once a process."""
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    times_s = []
    for _ in range(10):
        synchronise(device)
        started_s = time.perf_counter()
        torch.mm(a, b)
        synchronise(device)
        times_s.append(time.perf_counter() - started_s)
    return 2 * side**3 / min(times_s)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class ThroughputReport:
    """Of one process and one stretch of time; `mfu` None where the peak is not known, [0, 1] otherwise."""

    seconds: float
    tokens_per_s: float
    flops_per_s: float
    mfu: float | None
    stall_share: float


class Throughput:
    """Adds up what steps did between two reports. Waits for nothing: call `report` where the device was waited for.

    Args:
        peak_flops: `device_peak_flops`.
        clock: seconds, rising; another one for tests and for CPU time.
    """

    def __init__(self, peak_flops: float | None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.peak_flops, self.clock = peak_flops, clock
        self._begin()

    def _begin(self) -> None:
        self._flops, self._tokens, self._stall_s, self._started_s = 0.0, 0, 0.0, self.clock()

    def add(self, flops: float, tokens: int, stall_s: float = 0.0) -> None:
        """One micro-batch of this process: operations, video tokens, and seconds spent waiting for its data."""
        self._flops += flops
        self._tokens += tokens
        self._stall_s += stall_s

    def pause(self, seconds: float) -> None:
        """Leave out seconds that were no training: measuring, writing samples."""
        self._started_s += seconds

    def report(self) -> ThroughputReport:
        """Since the last report; begins the next stretch."""
        seconds = max(self.clock() - self._started_s, 1e-9)
        rate = self._flops / seconds
        mfu = rate / self.peak_flops if self.peak_flops else None
        report = ThroughputReport(seconds, self._tokens / seconds, rate, mfu, min(self._stall_s / seconds, 1.0))
        self._begin()
        return report
