"""Utilisation from operations, tokens and seconds, against numbers worked out by hand."""

import pytest
import torch

from training.throughput import PEAK_FLOPS, Throughput, device_peak_flops, measured_peak_flops


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_report_divides_by_the_seconds_since_the_last_one():
    clock = Clock()
    meter = Throughput(peak_flops=1e12, clock=clock)
    meter.add(flops=3e12, tokens=4000, stall_s=0.5)
    meter.add(flops=1e12, tokens=1000)
    clock.now_s += 10
    report = meter.report()
    assert (report.seconds, report.tokens_per_s, report.flops_per_s) == (10, 500, 4e11)
    assert report.mfu == pytest.approx(0.4)
    assert report.stall_share == pytest.approx(0.05)
    meter.add(flops=1e12, tokens=10)
    clock.now_s += 2
    assert meter.report().mfu == pytest.approx(0.5)


def test_a_pause_is_left_out():
    clock = Clock()
    meter = Throughput(peak_flops=1e12, clock=clock)
    meter.add(flops=1e12, tokens=10)
    clock.now_s += 30
    meter.pause(28)
    assert meter.report().mfu == pytest.approx(0.5)


def test_an_unknown_card_has_no_utilisation_but_speeds():
    clock = Clock()
    meter = Throughput(peak_flops=None, clock=clock)
    meter.add(flops=1e12, tokens=10)
    clock.now_s += 1
    report = meter.report()
    assert report.mfu is None
    assert report.flops_per_s == 1e12


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA A10G", 125e12),
        ("Some Card", None),
    ],
)
def test_cards_are_known_by_name(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert device_peak_flops(torch.device("cuda", 0)) == peak


def test_a_processor_is_measured_and_no_card_is_slower():
    peak = device_peak_flops(torch.device("cpu"))
    assert peak == measured_peak_flops(torch.device("cpu"), torch.float32)
    assert peak is not None and 1e8 < peak < min(PEAK_FLOPS.values())
