"""Two and four processes that train one network by several recipes, against a process alone; and what they refuse."""

import pytest
import torch

from curation.records import UserError
from tests.model.seeded import randomised
from tests.training.parallel_worker import CASES, CONFIG, launch
from training.parallel import check_degrees, clip_gradients, open_ranks, parallelize, whole_tensors
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


def test_clipping_is_that_of_torch() -> None:
    ours, theirs = randomised(CONFIG), randomised(CONFIG)
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        weight.grad, other.grad = weight.detach().clone(), weight.detach().clone()
    norm = clip_gradients(ours, 0.5)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad)
    assert clip_gradients(randomised(CONFIG), 0.5) == 0
