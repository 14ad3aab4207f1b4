"""Two and four processes that train one network by several recipes, against a process alone; and what they refuse."""

from typing import Literal

import pytest
import torch
from torch._dynamo.utils import counters

from curation.records import UserError
from model.dit import VideoDiT
from model.presets import VAE_PRESETS
from model.vae import CausalVideoVAE
from tests.model.seeded import randomised
from tests.training.parallel_worker import CASES, COMPILER, CONFIG, build, launch
from training.networks import build_network
from training.parallel import Ranks, check_degrees, clip_gradients, close_ranks, open_ranks, parallelize, whole_tensors
from training.parallel_settings import ParallelSettings


@pytest.fixture(scope="module", params=sorted({case.world for case in CASES}))
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    ranks = launch(tmp_path_factory.mktemp("processes"), request.param)
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


@pytest.mark.slow
def test_every_recipe_learns_what_a_process_alone_learns(found: dict[str, list[dict]]) -> None:
    for name, ranks in found.items():
        for rank in ranks:
            assert rank["learned"] > 0.01, name
            assert rank["loss"] <= 1e-6 and rank["norm"] <= 1e-6, (name, rank)
            assert rank["gradients"] <= 1e-5 and rank["weights"] <= 1e-5, (name, rank)


@pytest.mark.slow
def test_every_process_holds_its_part_of_the_weights(found: dict[str, list[dict]]) -> None:
    settings = {case.name: case for case in CASES}
    for name, ranks in found.items():
        part = settings[name].settings.replicas / settings[name].world
        assert [rank["held"] for rank in ranks] == pytest.approx([part] * len(ranks), rel=0.05)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        (
            {"replicas": 4, "shards": 2},
            r"replicas 4 x shards 2 .* the 6 processes .* one of 1 x 6, 2 x 3, 3 x 2, 6 x 1",
        ),
        ({"ulysses": 2, "ring": 2}, r"context 4 \(ulysses 2 x ring 2\) .* must divide 6: one of 1, 2, 3, 6, not 4"),
        ({"replicas": 12}, r"shards \(all that remain\) .* 6 x 1"),
    ],
)
def test_degrees_that_do_not_make_the_processes_are_refused_with_those_that_do(settings: dict, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        check_degrees(ParallelSettings(**settings), 6)


def test_shards_are_all_that_remain() -> None:
    assert check_degrees(ParallelSettings(replicas=2, ulysses=2), 16) == 4


def test_a_process_alone_trains_the_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    settings, model = ParallelSettings(), randomised(CONFIG)
    ranks = open_ranks(settings)
    assert (ranks.rank, ranks.world_size, ranks.mesh, ranks.is_main) == (0, 1, None, True)
    parallelize(model, ranks, settings)
    for (name, whole), weight in zip(whole_tensors(model.state_dict()), model.parameters(), strict=True):
        assert torch.equal(whole, weight), name


@pytest.mark.parametrize("network", ["dit", "vae"])
@pytest.mark.parametrize("master", [True, False])
def test_bfloat16_computes_in_16_bits_beside_weights_of_32(network: str, master: bool, monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    settings = ParallelSettings(precision="bfloat16", master_weights=master)
    (plain, loss), (model, _) = build(network), build(network)
    ranks, seen = open_ranks(settings), []
    try:
        parallelize(model, ranks, settings)
        if isinstance(model, VideoDiT):
            model.time_in.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            model.img_in.register_forward_hook(lambda *given: seen.append(given[-1]))
        result, expected = loss(model, [1, 2]), loss(plain, [1, 2])
        result.backward()
        expected.backward()
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected, rtol=2e-2, atol=0)
        stored = torch.float32 if master else torch.bfloat16
        assert {weight.dtype for weight in model.parameters()} == {stored}
        norm, other = clip_gradients(model, 1.0), clip_gradients(plain, 1.0)
        assert norm.isfinite()
        # Times in 16 bits would tell 937 from neither 935 nor 940.
        if network == "dit":
            torch.testing.assert_close(norm, other, rtol=5e-2, atol=0)
            assert [tensor.dtype for tensor in seen] == [torch.float32, torch.float32, torch.bfloat16]
    finally:
        close_ranks()


def test_a_vae_in_bfloat16_gives_the_bits_of_a_plain_one_cast_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what its gradients lose against float32 is rounding: 9 to 15% of torch's first weights, 2.5% of ours."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    settings = ParallelSettings(precision="bfloat16")
    plain, model = (build_network(VAE_PRESETS["tiny"], 0) for _ in range(2))
    plain.to(torch.bfloat16)
    video = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ranks = open_ranks(settings)
    try:
        parallelize(model, ranks, settings)
        for network in (plain, model):
            assert isinstance(network, CausalVideoVAE)
            given = video.to(torch.bfloat16) if network is plain else video
            (network.decode(network.encode(given).mode()).float() - video).abs().mean().backward()
        whole = dict(
            whole_tensors({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
        )
    finally:
        close_ranks()
    for name, weight in plain.named_parameters():
        assert weight.grad is not None
        assert torch.equal(whole[name], weight.grad.float()), name


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler asks
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_blocks_that_are_computed_again_are_still_compiled(checkpointing: Literal["selective", "full"]) -> None:
    torch.compiler.reset()
    counters.clear()
    (plain, loss), (model, _) = build("dit"), build("dit")
    settings = ParallelSettings(compile=True, checkpointing=checkpointing)
    parallelize(model, Ranks(0, 1, 0, 1, torch.device("cpu")), settings, compiler=COMPILER)
    for network in (plain, model):
        loss(network, [1, 2]).backward()
    # One graph for all dual blocks and one for all single ones, forward and backward, and no call beside them.
    assert counters["frames"] == {"total": 2, "ok": 2} and not counters["graph_break"]
    assert counters["aot_autograd"]["ok"] == 2
    for (name, weight), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad, msg=name)


def test_clipping_is_that_of_torch() -> None:
    ours, theirs = randomised(CONFIG), randomised(CONFIG)
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        weight.grad, other.grad = weight.detach().clone(), weight.detach().clone()
    norm = clip_gradients(ours, 0.5)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad)
    assert clip_gradients(randomised(CONFIG), 0.5) == 0
