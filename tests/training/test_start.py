"""Which weights a stage begins with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.records import UserError
from model.conversion import Target, convert
from model.dit import VideoDiT
from model.keys import Layout
from model.lora_keys import Adapter, lay_out
from model.weight_config import config_metadata
from model.weight_files import open_weights
from model.weights import identify
from tests.model.seeded import randomised
from tests.training.finished_stages import TINY, TINY_VAE, finish, stores_in
from training.networks import build_network
from training.stages import LoRASettings, StageSettings, TrainSettings
from training.start import check_starts, origin_of, starting_files, starting_weights


def curriculum(*stages: tuple[str, str, tuple[str, ...]], **changes: object) -> TrainSettings:
    rows = [
        StageSettings(name=name, objective=objective, start_from=start_from, shards={"video": 1})  # type: ignore[arg-type]
        for name, objective, start_from in stages
    ]
    return TrainSettings(stages=tuple(rows), seed=5, **changes)  # type: ignore[arg-type]


SOUP = curriculum(
    ("vae", "vae", ()), ("low", "flow", ()), ("a", "flow", ()), ("b", "flow", ("low",)), ("soup", "flow", ("a", "b"))
)


def names(settings: TrainSettings) -> dict[str, str]:
    return {stage.name: str(origin_of(stage, settings)) for stage in settings.stages}


def same(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights = dict(other.named_parameters())
    return all(torch.equal(weight, weights[name]) for name, weight in network.named_parameters())


def begun(settings: TrainSettings, name: str, folder: Path) -> torch.nn.Module:
    (stage,) = (stage for stage in settings.stages if stage.name == name)
    with starting_weights(stage, settings, stores_in(folder)) as start:
        return start.network()


def test_a_stage_starts_from_the_last_one_of_its_network_unless_it_names_others():
    check_starts(SOUP)
    assert names(SOUP) == {
        "vae": "new weights",
        "low": "new weights",
        "a": "stage 'low'",
        "b": "stage 'low'",
        "soup": "the mean of stages 'a', 'b'",
    }
    anew = curriculum(("vae", "vae", ()), ("low", "flow", ()), ("fresh", "flow", ("new",)))
    assert names(anew)["fresh"] == "new weights"


def test_new_weights_follow_from_the_seed_of_the_run(tmp_path):
    assert same(begun(SOUP, "low", tmp_path), build_network(TINY, 5))
    assert same(begun(SOUP, "vae", tmp_path), build_network(TINY_VAE, 5))


def test_a_stage_goes_on_from_a_result_and_a_soup_from_the_mean(tmp_path):
    store_of = stores_in(tmp_path)
    a, b = (finish(store_of(stage), seed=seed) for seed, stage in enumerate(SOUP.stages[2:4]))
    mean = dict(begun(SOUP, "soup", tmp_path).named_parameters())
    for (name, one), other in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.allclose(mean[name], (one + other) / 2, atol=1e-7)
    finish(store_of(SOUP.stages[1]), seed=7)
    network = begun(SOUP, "a", tmp_path)
    assert same(network, randomised(TINY, seed=7))
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in network.parameters())


@pytest.mark.parametrize("layout", list(Layout))
def test_released_files_of_every_layout_are_a_start_and_part_of_the_runs_identity(tmp_path, layout):
    network = randomised(replace(TINY, guidance=True))
    save_file(dict(network.state_dict()), tmp_path / "x.safetensors", metadata=config_metadata(network.config))
    path = tmp_path / ("folder" if layout is Layout.DIFFUSERS else f"{layout}.safetensors")
    convert(identify(open_weights(tmp_path / "x.safetensors")), Target(path, layout))
    settings = curriculum(("vae", "vae", ()), ("low", "flow", (str(path),)))
    check_starts(settings)
    started = begun(settings, "low", tmp_path)
    assert isinstance(started, VideoDiT) and started.config.guidance
    assert same(started, network)
    assert len(starting_files(settings)[str(path)]) == 64


def test_a_released_vae_brings_its_scale(tmp_path):
    config = replace(TINY_VAE, scaling_factor=0.7)
    path = tmp_path / "vae.safetensors"
    save_file(dict(randomised(config).state_dict()), path, metadata=config_metadata(config))
    settings = curriculum(("vae", "vae", (str(path),)), ("low", "flow", ()))
    with starting_weights(settings.stages[0], settings, stores_in(tmp_path)) as start:
        assert start.result()["config"]["scaling_factor"] == 0.7


def test_a_distillation_starts_from_its_teacher_with_an_embedder_more(tmp_path):
    settings = curriculum(("vae", "vae", ()), ("low", "flow", ()), ("d", "distill", ()), ("again", "distill", ()))
    check_starts(settings)
    store_of = stores_in(tmp_path)
    teacher = finish(store_of(settings.stages[1]))
    with starting_weights(settings.stages[2], settings, store_of) as start:
        student = start.network()
        assert start.teacher is not None and same(start.teacher.network(), teacher)
    assert same(teacher, student) and not student.get_parameter("guidance_in.mlp.2.weight").any()
    finish(store_of(settings.stages[2]), replace(TINY, guidance=True), seed=2)
    with starting_weights(settings.stages[3], settings, store_of) as start:
        assert same(start.network(), randomised(replace(TINY, guidance=True), seed=2))
        assert start.teacher is not None and same(start.teacher.network(), teacher)


@pytest.mark.parametrize(
    ("start_from", "said"),
    [
        (("vae",), "trains the VAE, not the transformer; stages above with the same network are low"),
        (("later",), "'later', which does not come before it"),
        (("low", "nonsense"), "'nonsense' among others, but only stages above can be averaged"),
        (("low", "low"), "in which a stage occurs twice"),
        (("nonsense",), "neither a stage above \\(vae, low\\) nor 'new' nor a file or folder"),
    ],
)
def test_what_cannot_be_a_start_is_refused_by_name_before_anything_is_trained(start_from, said):
    rows = (("vae", "vae", ()), ("low", "flow", ()), ("wrong", "flow", start_from), ("later", "flow", ()))
    with pytest.raises(UserError, match=f"stage 'wrong' .*{said}"):
        check_starts(curriculum(*rows))


def test_files_of_another_network_or_size_and_loras_are_refused(tmp_path):
    wide = replace(TINY, num_dual_blocks=1)
    save_file(dict(randomised(wide).state_dict()), tmp_path / "small.safetensors")
    save_file(dict(randomised(TINY_VAE).state_dict()), tmp_path / "vae.safetensors")
    adapter = Adapter(torch.zeros(2, 128), torch.zeros(128, 2))
    save_file(lay_out({"double_blocks.0.img_attn_proj": adapter}, Layout.ORIGINAL), tmp_path / "lora.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x00" * 12)
    for name, said in (
        ("small", "not of the size of train.dit = 'tiny': num_dual_blocks 1 \\(not 2\\)"),
        ("vae", "holds a vae; the stage trains a dit"),
        ("lora", "is a LoRA; a stage starts from a whole network"),
        ("torn", "stage 'low' starts from .*torn.safetensors"),
    ):
        settings = curriculum(("vae", "vae", ()), ("low", "flow", (str(tmp_path / f"{name}.safetensors"),)))
        with pytest.raises(UserError, match=said):
            check_starts(settings)


def test_a_distillation_needs_a_network_without_a_scale_and_learns_its_embedder_whole():
    alone = curriculum(("vae", "vae", ()), ("d", "distill", ()), dit="full")
    with pytest.raises(UserError, match="embeds a guidance scale already, and no stage above has a network without"):
        check_starts(alone)
    rows = curriculum(("vae", "vae", ()), ("low", "flow", ()), ("d", "distill", ())).stages
    low_rank = rows[2].model_copy(update={"lora": LoRASettings()})
    with pytest.raises(UserError, match="must be learned whole: leave out lora"):
        check_starts(TrainSettings(stages=(*rows[:2], low_rank)))
    mixed = curriculum(("vae", "vae", ()), ("low", "flow", ()), ("d", "distill", ()), ("soup", "flow", ("low", "d")))
    with pytest.raises(UserError, match="the mean of stages 'low', 'd', whose networks differ"):
        check_starts(mixed)
