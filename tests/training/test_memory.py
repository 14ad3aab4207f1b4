"""The memory estimate beside tensors that really live, at full size by arithmetic, and what is refused."""

from dataclasses import replace

import pytest
import torch

from curation.records import UserError
from model.dit import VideoDiT
from model.presets import DIT_PRESETS, DiTConfig
from tests.model.seeded import inputs
from tests.training.live_memory import step_memory
from training.activation_checkpoint import Checkpointing, apply_checkpointing
from training.data import PackedClip
from training.memory import GIB, available_bytes, check_fits, estimate_buckets, estimate_memory, memory_table
from training.parallel_settings import ParallelSettings
from training.stages import LoRASettings, StageSettings

SMALL = DiTConfig(
    hidden_size=256,
    num_heads=2,
    num_dual_blocks=2,
    num_single_blocks=3,
    guidance=False,
    text_width=64,
    pooled_width=32,
)
FULL = DIT_PRESETS["full"]
STAGE = StageSettings(name="sft", shards={"video": 1}, optimizer="adamw8bit", ema=0.0)
FRUGAL = ParallelSettings(precision="bfloat16", master_weights=False, checkpointing="full", offload_activations=True)


def clip(width: int, height: int, num_frames: int) -> PackedClip:
    return PackedClip(f"{width}", "video", "a.tar", width, height, num_frames, {"short": "x"}, 24.0, {})


@pytest.mark.parametrize("mode", ["none", "selective", "full"])
def test_activations_are_estimated_to_15_percent(mode: str):
    torch.manual_seed(0)
    network = VideoDiT(SMALL).bfloat16()
    apply_checkpointing(network, Checkpointing(mode))
    latents, t, text, pooled = inputs(SMALL, [(1, 32, 32)], [16])
    given = ([each.bfloat16() for each in latents], t, [each.bfloat16() for each in text], pooled.bfloat16())
    kept, peak = step_memory(network, given)
    parallel = ParallelSettings.model_validate(
        {"precision": "bfloat16", "master_weights": False, "checkpointing": mode}
    )
    found = estimate_memory(SMALL, STAGE, parallel, tokens=256 + 16)
    around = 6.0 * 272 * 256 * 2
    assert found.kept + around == pytest.approx(kept, rel=0.15)
    assert found.kept + found.working == pytest.approx(peak, rel=0.15)


def test_full_fine_tuning_fits_one_card_of_141_gb_only_with_every_remedy():
    card, clips = int(139.0 * GIB), [clip(1280, 720, 129)]
    stage = STAGE.model_copy(update={"batch": 1})
    (fits,) = check_fits(FULL, stage, FRUGAL, clips, text_tokens=256, available=card)
    assert fits.total / GIB == pytest.approx(105.2, abs=0.1)
    for change in ({"offload_activations": False}, {"master_weights": True}, {"checkpointing": "none"}):
        costly = FRUGAL.model_copy(update={**change, "offload_activations": False})
        with pytest.raises(UserError, match="GiB a process"):
            check_fits(FULL, stage, costly, clips, 256, card)


def test_a_refusal_names_buckets_numbers_and_what_would_help():
    clips = [clip(640, 368, 129), clip(256, 256, 1)]
    plain = ParallelSettings(precision="bfloat16", master_weights=False)
    with pytest.raises(UserError) as refused:
        check_fits(FULL, STAGE.model_copy(update={"batch": 1}), plain, clips, 256, 100 * GIB)
    text = str(refused.value)
    assert "'sft' needs" in text and "100.0 GiB are free" in text
    assert "640x368x129" in text and "256x256x1" in text
    assert 'checkpointing = "full"' in text and "92.1 GiB, fits" in text
    assert text.index("640x368x129") < text.index("256x256x1")


def test_more_processes_share_the_weights_and_contexts_the_tokens():
    alone = estimate_memory(FULL, STAGE, FRUGAL, 10_000)
    eight = estimate_memory(FULL, STAGE, FRUGAL, 10_000, world_size=8)
    assert eight.weights == pytest.approx(alone.weights / 8, rel=1e-6)
    assert eight.gathered > 0 == alone.gathered
    shared = estimate_memory(FULL, STAGE, FRUGAL.model_copy(update={"ulysses": 8}), 10_000, world_size=8)
    assert shared.kept == pytest.approx(eight.kept / 8, rel=1e-3)
    copies = estimate_memory(FULL, STAGE, FRUGAL.model_copy(update={"replicas": 2}), 10_000, world_size=8)
    assert copies.weights == pytest.approx(alone.weights / 4, rel=1e-6)
    summed = estimate_memory(FULL, STAGE, FRUGAL, 10_000, world_size=8, micro_batches=2)
    assert summed.gradients - eight.gradients == pytest.approx(4 * alone.weights / 2, rel=1e-6)


def test_low_rank_updates_need_no_gradients_of_the_weights():
    whole = estimate_memory(FULL, STAGE, FRUGAL, 1000)
    lora = estimate_memory(FULL, STAGE.model_copy(update={"lora": LoRASettings(rank=16)}), FRUGAL, 1000)
    assert lora.weights == whole.weights
    assert lora.gradients < 0.01 * whole.gradients


def test_a_micro_batch_is_as_full_as_it_is_planned():
    clips = [clip(256, 256, 1), clip(256, 256, 65)]
    stage = STAGE.model_copy(update={"batch": 32, "micro_batch_tokens": 8704})
    found = {each.bucket: each.tokens for each in estimate_buckets(FULL, stage, FRUGAL, clips, 100, world_size=4)}
    assert found == {"256x256x1": 34 * 356, "256x256x65": 2 * 4452}


def test_every_number_is_in_the_table():
    found = replace(estimate_memory(FULL, STAGE, FRUGAL, 119_056), bucket="1280x720x129")
    table = memory_table([found])
    assert all(word in table for word in ("1280x720x129", "119,056", "moments", f"{found.total / GIB:.1f}"))


def test_a_processor_tells_its_free_memory():
    assert 0 < available_bytes(torch.device("cpu")) < 2**50
