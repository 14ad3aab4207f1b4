"""Low-rank updates: what they learn, what they leave, and that every layout of them says the same."""

import torchvision_shim

torchvision_shim.install()

import pytest  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from curation.records import UserError  # noqa: E402
from model.dit import VideoDiT  # noqa: E402
from model.keys import Layout  # noqa: E402
from model.lora_keys import lay_out, read_lora  # noqa: E402
from model.weight_files import open_weights  # noqa: E402
from tests.model.seeded import inputs  # noqa: E402
from tests.model.weight_samples import DIT, random_network  # noqa: E402
from training.lora import adapter_tensors, add_lora, has_lora, lora_facts, read_adapters, result_tensors  # noqa: E402
from training.stages import LoRASettings  # noqa: E402

SETTINGS = LoRASettings(rank=4, alpha=6.0)
GUIDANCE = torch.tensor([6000.0, 1000.0])


def network_of(seed: int = 0) -> VideoDiT:
    network = random_network(DIT, seed)
    assert isinstance(network, VideoDiT)
    return network


def learned(network: VideoDiT) -> dict[str, Tensor]:
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


@pytest.fixture
def taught() -> VideoDiT:
    """A network whose updates are as if they had been learned."""
    network = network_of()
    add_lora(network, SETTINGS, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in learned(network).values():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


def says(network: torch.nn.Module) -> list[Tensor]:
    with torch.no_grad():
        return network(*inputs(DIT, [(1, 4, 4), (1, 4, 4)], [5, 3]), GUIDANCE)


def near(one: list[Tensor], other: list[Tensor], atol: float = 1e-5) -> bool:
    return all(torch.allclose(a, b, atol=atol) for a, b in zip(one, other, strict=True))


def test_updates_change_nothing_at_first_and_follow_from_the_seed_alone():
    plain, network, again, another = (network_of() for _ in range(4))
    state = torch.get_rng_state()
    for each, seed in ((network, 1), (again, 1), (another, 2)):
        add_lora(each, SETTINGS, seed)
    assert near(says(network), says(plain), atol=0.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(learned(network).values(), learned(again).values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(learned(network).values(), learned(another).values(), strict=True))


def test_only_the_updates_of_the_named_layers_are_learned():
    network = network_of()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    assert not has_lora(network)
    add_lora(network, SETTINGS, seed=1)
    assert has_lora(network) and isinstance(network, VideoDiT)
    assert {name.partition(".lora_")[0].rpartition(".")[2] for name in learned(network)} == {
        *("img_attn_qkv", "img_attn_proj", "txt_attn_qkv", "txt_attn_proj", "self_attn_qkv", "self_attn_proj"),
        *("fc1", "fc2", "linear1", "linear2"),
    }
    optimizer = torch.optim.SGD(learned(network).values(), lr=0.1)
    for _ in range(2):
        (velocity,) = network(*inputs(DIT, [(1, 4, 4)], [5]), GUIDANCE[:1])
        velocity.square().mean().backward()
        optimizer.step()
    after = {name.replace(".base_layer", ""): weight for name, weight in network.state_dict().items()}
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert all(weight.abs().sum() > 0 for name, weight in learned(network).items() if "lora_B" in name)


def test_the_result_is_the_network_with_the_updates_merged_in(taught):
    expected = says(taught)
    average = {name: weight.detach().clone() for name, weight in learned(taught).items()}
    result = result_tensors(taught, average)
    merged = network_of(seed=9)
    merged.load_state_dict(result)
    assert near(says(merged), expected)
    plain = dict(network_of().named_parameters())
    assert result_tensors(network_of(), plain).keys() == plain.keys() == result.keys()
    assert lora_facts(taught, SETTINGS) == {"lora": SETTINGS.model_dump()} and lora_facts(merged, SETTINGS) == {}


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_of_the_exported_updates_merges_to_the_same_weights(taught, tmp_path, layout):
    adapters = read_adapters(adapter_tensors(learned(taught)), SETTINGS)
    tensors = {name: tensor.detach() for name, tensor in lay_out(adapters, layout).items()}
    save_file(tensors, tmp_path / "lora.safetensors")
    found, read = read_lora(open_weights(tmp_path / "lora.safetensors"))
    assert found is layout and read.keys() == adapters.keys()
    result = result_tensors(taught, learned(taught))
    plain = dict(network_of().named_parameters())
    for module, adapter in read.items():
        merged = plain[f"{module}.weight"] + adapter.scale * adapter.up @ adapter.down
        assert torch.allclose(merged, result[f"{module}.weight"], atol=1e-6)


def test_diffusers_loads_the_updates_and_says_the_same(taught):
    from tests.model.reference import answer, reference_of

    reference = reference_of(network_of()).eval()
    tensors = lay_out(read_adapters(adapter_tensors(learned(taught)), SETTINGS), Layout.DIFFUSERS)
    reference.load_lora_adapter({name: tensor.detach() for name, tensor in tensors.items()})
    given = inputs(DIT, [(1, 4, 4), (1, 4, 4)], [5, 3])
    with torch.no_grad():
        theirs = answer(reference, *given, guidance=GUIDANCE)
    assert near(theirs, says(taught), atol=2e-4)
    assert not near(theirs, says(network_of()), atol=1e-2)


@pytest.mark.parametrize(
    ("targets", "said"), [("nowhere", "names no layer"), (r"img_in\.proj", "img_in.proj, which is no linear layer")]
)
def test_targets_that_cannot_be_updated_are_refused(targets, said):
    with pytest.raises(UserError, match=said):
        add_lora(network_of(), LoRASettings(targets=targets), seed=0)
