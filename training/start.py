"""The weights that a stage begins with: `start_from` of a stage, named, checked and read one tensor at a time.

    nothing named              the result of the last stage above of the same network, else new weights
    "new"                      new weights, by the run's seed
    "sft_a", "sft_b"           results of stages above; of several, their mean (training.averaging)
    "hunyuan/transformer"      a file or folder that model.weights reads: released or exported, any layout

Names, files and sizes of the whole curriculum are checked before anything is trained (`check_starts`), so that no run
stops at its last stage for a typing error in it. A stage of no steps has as its result what it starts from: that is how
released weights enter a run, and how an average gets a name.

A `distill` stage starts from a network without an embedded guidance scale, which is its teacher too, and adds the
embedder; or it goes on with a student, and then learns from the last network above that has none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.records import UserError
from model.dit import VideoDiT
from model.lora_keys import is_lora
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from model.text_files import weights_digest
from model.vae import CausalVideoVAE
from model.weight_config import Config, preset_name
from model.weight_facts import file_digest
from model.weight_files import open_weights
from model.weights import LOADABLE, NetworkWeights, identify
from training.averaging import averaged, stage_weights
from training.checkpoint import CheckpointStore
from training.distillation import new_guidance
from training.networks import Network, build_network
from training.stages import StageSettings, TrainSettings

NEW = "new"


@dataclass(frozen=True)
class Origin:
    """What a stage starts from: results of stages, a file, or, with neither, new weights."""

    stages: tuple[str, ...] = ()
    path: str = ""

    def __str__(self) -> str:
        if self.stages:
            named = ", ".join(map(repr, self.stages))
            return f"the mean of stages {named}" if len(self.stages) > 1 else f"stage {named}"
        return self.path or "new weights"


@dataclass(frozen=True)
class Start:
    """Weights to begin with; to be read while the block of `starting_weights` lasts.

    Attributes:
        config: sizes of the network that begins.
        teacher: a distillation's teacher.
    """

    origin: Origin
    config: Config
    seed: int
    parts: tuple[NetworkWeights, ...] = ()
    teacher: "Start | None" = field(default=None)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All weights by released names, float32, one at a time where they come from files."""
        if not self.parts:
            yield from build_network(self.config, self.seed).state_dict().items()
            return
        yield from averaged(self.parts)
        if isinstance(self.config, DiTConfig) and self.config != self.parts[0].config:
            yield from new_guidance(self.config.hidden_size, self.seed).items()

    def network(self, device: torch.device | str = "cpu") -> Network:
        """The network with its weights."""
        with torch.device("meta"):
            network = VideoDiT(self.config) if isinstance(self.config, DiTConfig) else CausalVideoVAE(self.config)
        network.load_state_dict({name: tensor.to(device) for name, tensor in self.tensors()}, assign=True)
        return network.requires_grad_(True)

    def result(self) -> dict[str, Any]:
        """What `Objective.result` says of a network, of these weights: the result of a stage of no steps."""
        return {"network": "dit" if isinstance(self.config, DiTConfig) else "vae", "config": asdict(self.config)}


@contextmanager
def starting_weights(
    stage: StageSettings, settings: TrainSettings, store_of: Callable[[StageSettings], CheckpointStore]
) -> Iterator[Start]:
    """What a stage starts from; the stages above must be finished.

    Raises:
        UserError: as `check_starts`, or a file or a stage's result is damaged or is of another size.
    """
    origin = origin_of(stage, settings)
    with ExitStack() as stack:
        start = _open(origin, stage, settings, store_of, stack)
        if stage.objective != "distill":
            yield start
            return
        assert isinstance(start.config, DiTConfig)
        teacher = start
        if start.config.guidance:
            teacher = _open(_teacher_above(stage, settings, store_of), stage, settings, store_of, stack)
        yield replace(start, config=replace(start.config, guidance=True), teacher=teacher)


def origin_of(stage: StageSettings, settings: TrainSettings) -> Origin:
    """What `start_from` of a stage names.

    Raises:
        UserError: something that is neither a stage above of the same network nor a file, or several of other kinds.
    """
    above = settings.above(stage)
    same = [other.name for other in above if other.network == stage.network]
    named = stage.start_from
    if not named:
        return Origin(tuple(same[-1:]))
    if named == (NEW,):
        return Origin()
    everywhere = {other.name: other for other in settings.stages}
    if len(named) == 1 and named[0] not in everywhere:
        return Origin(path=named[0])
    for name in named:
        if name in same:
            continue
        said = f"stage {stage.name!r} starts from {name!r}"
        legal = f"stages above with the same network are {', '.join(same) or 'none'}"
        if name in everywhere and everywhere[name].network != stage.network:
            kinds = {"vae": "VAE", "dit": "transformer"}
            raise UserError(
                f"{said}, which trains the {kinds[everywhere[name].network]}, not the {kinds[stage.network]}; {legal}"
            )
        if name in everywhere:
            raise UserError(f"{said}, which does not come before it; {legal}")
        raise UserError(f"{said} among others, but only stages above can be averaged; {legal}")
    if len(set(named)) != len(named):
        raise UserError(f"stage {stage.name!r} averages {list(named)}, in which a stage occurs twice")
    return Origin(named)


def check_starts(settings: TrainSettings) -> None:
    """Check what every stage starts from, without reading weights.

    Raises:
        UserError: names the stage, what it starts from, and what was expected.
    """
    configs: dict[str, Config] = {}
    for stage in settings.stages:
        origin = origin_of(stage, settings)
        if origin.path:
            config = _weights_at(origin.path, stage, settings).config
        else:
            config = _agreed([configs[name] for name in origin.stages], stage, origin) or _preset(stage, settings)
        guided = isinstance(config, DiTConfig) and config.guidance
        if stage.objective == "distill" and guided:
            kinds = [other for other in configs.values() if isinstance(other, DiTConfig) and not other.guidance]
            if not kinds:
                raise UserError(_no_teacher(stage, origin))
        if stage.objective == "distill" and stage.lora and not guided:
            raise UserError(
                f"stage {stage.name!r} would learn a guidance scale by low-rank updates, but {origin} embeds none, so "
                "its embedder must be learned whole: leave out lora"
            )
        if isinstance(config, DiTConfig):
            config = replace(config, guidance=config.guidance or stage.objective == "distill")
        configs[stage.name] = config


def starting_files(settings: TrainSettings) -> dict[str, str]:
    """sha256 of each file or folder that a stage starts from, by its name in the recipe: part of a run's identity.

    Raises:
        UserError: as `origin_of`, or there is no such file.
    """
    digests = {}
    for stage in settings.stages:
        path = origin_of(stage, settings).path
        if path and path not in digests:
            if not Path(path).exists():
                raise UserError(_no_file(path, stage, settings))
            digests[path] = file_digest(Path(path)) if Path(path).is_file() else weights_digest(path)
    return digests


def _open(
    origin: Origin,
    stage: StageSettings,
    settings: TrainSettings,
    store_of: Callable[[StageSettings], CheckpointStore],
    stack: ExitStack,
) -> Start:
    if origin.path:
        weights = _weights_at(origin.path, stage, settings)
        return Start(origin, weights.config, settings.seed, (weights,))
    if not origin.stages:
        return Start(origin, _preset(stage, settings), settings.seed)
    by_name = {other.name: other for other in settings.stages}
    parts = tuple(stack.enter_context(stage_weights(store_of(by_name[name]))) for name in origin.stages)
    config = _agreed([weights.config for weights in parts], stage, origin)
    assert config is not None
    return Start(origin, config, settings.seed, parts)


def _teacher_above(
    stage: StageSettings, settings: TrainSettings, store_of: Callable[[StageSettings], CheckpointStore]
) -> Origin:
    """The last stage above whose network embeds no scale."""
    for other in reversed(settings.above(stage)):
        store = store_of(other)
        facts: Mapping[str, Any] = store.state(max(store.steps()))["result"]
        if facts["network"] == "dit" and not facts["config"]["guidance"]:
            return Origin((other.name,))
    raise UserError(_no_teacher(stage, origin_of(stage, settings)))


def _no_teacher(stage: StageSettings, origin: Origin) -> str:
    return (
        f"stage {stage.name!r} starts from {origin}, which embeds a guidance scale already, and no stage above has a "
        "network without one to learn from; start it from a network without"
    )


def _weights_at(path: str, stage: StageSettings, settings: TrainSettings) -> NetworkWeights:
    """A file or folder whose network is the run's."""
    if not Path(path).exists():
        raise UserError(_no_file(path, stage, settings))
    said = f"stage {stage.name!r} starts from {path}"
    try:
        stored = open_weights(path)
        if is_lora(stored):
            raise UserError(f"{said}, which is a LoRA; a stage starts from a whole network")
        weights = identify(stored)
    except ValueError as error:
        raise UserError(f"{said}: {error}") from error
    preset, wanted = _preset(stage, settings), stage.network
    found = "dit" if isinstance(weights.config, DiTConfig) else "vae"
    if found != wanted:
        raise UserError(f"{said}, which holds a {found}; the stage trains a {wanted}")
    if _sizes(weights.config) != _sizes(preset):
        given, expected = asdict(weights.config), asdict(preset)
        differing = ", ".join(
            f"{key} {given[key]} (not {expected[key]})" for key in given if given[key] != expected[key]
        )
        name = getattr(settings, wanted)
        fits = preset_name(weights.config)
        remedy = f"; the preset that fits it is {fits!r}" if fits else ""
        raise UserError(f"{said}, which is not of the size of train.{wanted} = {name!r}: {differing}{remedy}")
    for link in weights.links:
        if weights.dtype(link) not in LOADABLE:
            raise UserError(f"{said}, where '{link.parts[0]}' is {weights.dtype(link)}, a type without its scales")
    return weights


def _no_file(path: str, stage: StageSettings, settings: TrainSettings) -> str:
    above = [other.name for other in settings.above(stage)]
    return (
        f"stage {stage.name!r} starts from {path!r}, which is neither a stage above ({', '.join(above) or 'none'}) "
        f"nor {NEW!r} nor a file or folder of weights"
    )


def _agreed(configs: Sequence[Config], stage: StageSettings, origin: Origin) -> Config | None:
    """The one configuration of networks that are to be averaged; VAEs have scales of their own, whose mean is taken."""
    if not configs:
        return None
    first = configs[0]
    if any(replace(other, **_scale(first)) != first for other in configs):
        raise UserError(
            f"stage {stage.name!r} starts from {origin}, whose networks differ: {', '.join(map(str, configs))}"
        )
    if isinstance(first, DiTConfig):
        return first
    factors = [other.scaling_factor for other in configs if isinstance(other, VAEConfig)]
    return replace(first, scaling_factor=sum(factors) / len(factors))


def _sizes(config: Config) -> Config:
    """A configuration without what training changes: the VAE's scale, the embedded guidance."""
    if isinstance(config, DiTConfig):
        return replace(config, guidance=False)
    return replace(config, scaling_factor=1.0)


def _scale(config: Config) -> dict[str, Any]:
    return {} if isinstance(config, DiTConfig) else {"scaling_factor": config.scaling_factor}


def _preset(stage: StageSettings, settings: TrainSettings) -> Config:
    return VAE_PRESETS[settings.vae] if stage.network == "vae" else DIT_PRESETS[settings.dit]
