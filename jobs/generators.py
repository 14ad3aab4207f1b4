"""Where `generate` finds its networks, and what identifies them: a training run, or a folder of weights.

    --run ID --stage  training.trained.find_trained ----------------+--> Source(label, sha256 by network)
    --weights FOLDER  transformer, vae, text_encoder, text_encoder_2 --+        open --> dit, vae, text

A source is found without loading anything, so that a job knows what is due before its workers load the weights. The
folder may hold released or converted weights: the DiT and the VAE in any layout that model/weights.py reads, the text
encoders as transformers saves them, with their tokenizers in them or beside them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import UserError

if TYPE_CHECKING:
    import torch

    from curation.tables import Workspace
    from jobs.generate import GenerateSettings
    from training.stages import TextSettings
    from training.trained import TrainedNetworks, TrainedRun

# Where released and converted weights lie, the first that is there: diffusers' folders, the original's, single files.
PLACES = {
    "dit": ("transformer", "dit", "transformers", "*/transformers", "dit*.safetensors", "dit*.pt", "transformer*.*"),
    "vae": ("vae", "*/vae", "vae*.safetensors", "vae*.pt"),
    "llm": ("text_encoder",),
    "clip": ("text_encoder_2",),
}
TOKENIZERS = {"llm": "tokenizer", "clip": "tokenizer_2"}


@dataclass(frozen=True)
class Source:
    """Networks that are there but not loaded: `run` of a training run, or `places` in a folder of weights."""

    run_id: str
    stage: str
    weights_sha256: dict[str, str]
    text: "TextSettings"
    run: "TrainedRun | None" = None
    places: dict[str, str] | None = None

    @property
    def label(self) -> str:
        return f"{self.run_id}/{self.stage}"

    @property
    def sees_pictures(self) -> bool:
        """Whether its language model can be shown a first frame."""
        from model.text_files import sees_pictures

        llm = self.places["llm"] if self.places else self.text.llm
        return bool(llm) and sees_pictures(llm)


def find_source(workspace: "Workspace", run_id: str, folder: str, text: "TextSettings", stage: str = "") -> Source:
    """The folder's weights where one is given, else those of the run, else of the newest run.

    Args:
        text: templates for a folder's encoders, and encoders where it holds none.
        stage: of the run, the flow stage to take; the last finished one by default.

    Raises:
        UserError: both are given, the folder lacks a network, or there is no such run or stage.
    """
    if folder and (run_id or stage):
        given = "--run" if run_id else "--stage"
        raise UserError(f"{given} and --weights name two sets of networks; give one of them")
    if folder:
        return _in_folder(Path(folder), text)
    from training.trained import find_trained, newest_run

    found = find_trained(workspace, run_id or newest_run(workspace), stage)
    return Source(found.run_id, found.stage, found.weights_sha256, found.text, run=found)


def _in_folder(folder: Path, text: "TextSettings") -> Source:
    if not folder.is_dir():
        raise UserError(f"--weights {folder} is no folder; give the one that holds transformer/ and vae/")
    places = {}
    for network, names in PLACES.items():
        place = next((path for name in names for path in sorted(folder.glob(name))), None)
        if place is not None:
            places[network] = str(place)
        elif getattr(text, network, ""):
            places[network] = getattr(text, network)
        else:
            also = f", and train.text.{network} names none" if network in TOKENIZERS else ""
            raise UserError(f"--weights {folder} holds no {network}: none of {', '.join(names)} is there{also}")
    for network, name in TOKENIZERS.items():
        beside = folder / name
        places[name] = str(beside) if beside.is_dir() else places[network]
    weights = {network: _sha256(places[network]) for network in PLACES}
    return Source("weights", folder.resolve().name, weights, text, places=places)


def _sha256(place: str) -> str:
    from model.text_files import model_folder, weights_digest
    from model.weight_facts import file_digest

    path = Path(place)
    if path.is_file():
        return file_digest(path)
    try:
        return weights_digest(path if path.is_dir() else model_folder(place))
    except ValueError as error:
        raise UserError(f"{place}: {error}") from error


def open_networks(workspace: "Workspace", source: Source, settings: "GenerateSettings", pictures: bool) -> Any:
    """The networks on the device and in the precision of the settings, ready to sample.

    Args:
        pictures: keep the eyes of the language model.

    Raises:
        UserError: weights are damaged, or do not fit each other.
    """
    from training.trained import load_trained

    device, precision, vae_precision = placement(settings)
    if source.run is not None:
        networks = load_trained(workspace, source.run, precision, pictures)
    else:
        networks = _load_folder(source, precision, vae_precision, device, pictures)
    text, dit = networks.text, networks.dit
    if (text.width, text.pooled_width) != (dit.config.text_width, dit.config.pooled_width):
        raise UserError(
            f"the text encoders of {source.label} give states of width {text.width} and vectors of width "
            f"{text.pooled_width}, its transformer takes {dit.config.text_width} and {dit.config.pooled_width}"
        )
    dit.to(device=device, dtype=precision)
    networks.vae.to(device=device, dtype=vae_precision)
    text.to(device)
    return networks


def _load_folder(
    source: Source, precision: "torch.dtype", vae_precision: "torch.dtype", device: str, pictures: bool
) -> "TrainedNetworks":
    from model.text import TextEncoder
    from model.weights import load_dit, load_vae
    from training.trained import TrainedNetworks

    assert source.places is not None
    places = source.places
    try:
        text = TextEncoder.from_folders(
            places["llm"],
            places["clip"],
            source.text.prompts(),
            precision,
            (places["tokenizer"], places["tokenizer_2"]),
            pictures,
        )
        dit = load_dit(places["dit"], dtype=precision, device=device)
        vae = load_vae(places["vae"], dtype=vae_precision, device=device)
    except ValueError as error:
        raise UserError(f"--weights: {error}") from error
    return TrainedNetworks(dit, vae, text)


def placement(settings: "GenerateSettings") -> tuple[str, "torch.dtype", "torch.dtype"]:
    """Device, precision of DiT and text encoders, precision of the VAE (released: bf16 and fp16 on a GPU)."""
    import torch

    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    automatic = ("bf16", "fp16") if device.startswith("cuda") else ("fp32", "fp32")
    given = (settings.precision, settings.vae_precision)
    precision, vae_precision = (auto if name == "auto" else name for name, auto in zip(given, automatic, strict=True))
    return device, kinds[precision], kinds[vae_precision]
