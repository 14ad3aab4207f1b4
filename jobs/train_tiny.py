"""`dailies train-tiny`: the whole staged recipe on two CPU cores in minutes, and proof that samples follow the caption.

    scenes of shapes, cuts of footage --pack--> shards --train, every stage--> networks --48 prompts--> samples
                                                                               samples --detector--> score, pictures

Prints a table of the stages (held-out loss before and after, seconds), whether stages that are taken up in the middle
end with the same bits, and the score of each attribute beside what guessing reaches, and what the same detector says of
the rendered clips themselves and of their way through the VAE.
It all lies in <workspace>/tiny: score.json, samples.png, curves.png.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.records import UserError
from jobs import train
from jobs.demo_footage import num_frames, render
from jobs.progress import Progress
from jobs.resume_proof import Resumed, resume
from jobs.shapes import Scene, draw, scene_of
from jobs.shapes_score import Rate, Seen, score, see
from jobs.toy_clips import find_cuts, pack_cuts, pack_shapes
from jobs.toy_pictures import contact_sheet, curves
from jobs.toy_settings import ToySettings

if TYPE_CHECKING:
    from curation.tables import Workspace
    from jobs.config import Context
    from training.curriculum import TrainingRun
    from training.trained import TrainedNetworks

FOLDER, FOOTAGE = "tiny", "footage"
SAMPLE_SEED = 1  # of the noise of the scored samples
SHEET_ROWS = 12


@dataclass(frozen=True)
class Scored:
    """The rates of one set of clips that all should show what the prompts ask for."""

    what: str
    rates: list[Rate]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--footage", metavar="DIR_OR_URI", help="your own videos instead of rendered films")


def run(context: "Context") -> int:
    started_s = time.perf_counter()
    settings, workspace = context.recipe.toy, context.workspace
    if settings.sample_set not in settings.sets:
        raise UserError(f"toy.sample_set = {settings.sample_set!r} is none of toy.sets: {', '.join(settings.sets)}")
    _pack(context)
    packed_s = time.perf_counter()
    trained = train.train(context)
    trained_s = time.perf_counter()
    resumed = [resume(trained, name, workspace.local_path(FOLDER, "resumed", name)) for name in settings.resume]
    resumed_s = time.perf_counter()
    scenes = [scene_of(number, trained.settings.seed) for number in range(settings.prompts)]
    scored, samples = _score(workspace, trained, settings, scenes)
    workspace.write_bytes(contact_sheet(scenes, samples, [see(frames) for frames in samples]), FOLDER, "samples.png")
    workspace.write_bytes(curves(trained.metrics.rows), FOLDER, "curves.png")
    workspace.write_bytes(json.dumps(_facts(trained, scored, resumed), indent=1).encode(), FOLDER, "score.json")
    print(_table(trained, scored, resumed), flush=True)
    print(
        f"train-tiny: clips in {packed_s - started_s:.0f} s, training in {trained_s - packed_s:.0f} s, taken up again "
        f"in {resumed_s - trained_s:.0f} s, samples and score in {time.perf_counter() - resumed_s:.0f} s; pictures and "
        f"numbers in {workspace.path(FOLDER)}",
        flush=True,
    )
    return 0 if all(one.is_exact for one in resumed) else 1


def _pack(context: "Context") -> None:
    """Pack what the sets ask for; the same settings give the same bytes, so a second run trains nothing anew."""
    recipe, workspace = context.recipe, context.workspace
    footage = recipe.footage
    path = context.args.footage or footage.path
    if not path:
        folder = workspace.local_path(FOOTAGE)
        total = num_frames(recipe.train.seed, recipe.toy.films)
        with Progress("render footage", total, "frames") as progress:
            render(folder, recipe.train.seed, progress.advance, recipe.toy.films)
        path = str(folder)
    pack_shapes(workspace, recipe.toy, recipe.train.seed)
    pack_cuts(workspace, recipe.toy, find_cuts(footage.model_copy(update={"path": path}), recipe.toy))


def _score(
    workspace: "Workspace", trained: "TrainingRun", settings: ToySettings, scenes: Sequence[Scene]
) -> tuple[list[Scored], list[np.ndarray]]:
    """Score drawn clips, the same through the VAE, and samples of the last stage; gives the samples, too."""
    from training.trained import find_trained, load_trained

    size = settings.sets[settings.sample_set]
    asked = [Seen(scene.colour, scene.shape, scene.direction if size.num_frames > 1 else "") for scene in scenes]
    networks = load_trained(workspace, find_trained(workspace, trained.run_id))
    drawn = [draw(scene, size.size_px, size.num_frames) for scene in scenes]
    samples = _sample(networks, settings, scenes)
    sets = {
        "drawn clips": drawn,
        "drawn clips through the VAE": [_through(networks, frames) for frames in drawn],
        "samples": samples,
        "samples, prompts exchanged": [*samples[7:], *samples[:7]],  # 7 changes colour, direction and often the shape
    }
    return [Scored(what, score(asked, map(see, clips))) for what, clips in sets.items()], samples


def _sample(networks: "TrainedNetworks", settings: ToySettings, scenes: Sequence[Scene]) -> list[np.ndarray]:
    """One clip per scene's caption, uint8 RGB [T, H, W, 3], all in one packed batch."""
    import torch

    from model.sampler import sample
    from training.captions import assemble

    size, config = settings.sets[settings.sample_set], networks.vae.config
    kind = "video" if size.num_frames > 1 else "image"
    side, length = size.size_px // config.spatial_compression, (size.num_frames - 1) // config.temporal_compression + 1
    texts = [assemble({"short": scene.caption(size.num_frames > 1)}) for scene in scenes]
    states = networks.text.encode(texts, kind)
    embeds = networks.dit.config.guidance
    latents = sample(
        networks.dit,
        [(config.latent_channels, length, side, side)] * len(scenes),
        [state.states for state in states],
        torch.stack([state.pooled for state in states]),
        settings.sample_steps,
        settings.shift,
        torch.Generator().manual_seed(SAMPLE_SEED),
        guidance=settings.cfg_scale if embeds else None,
        cfg_scale=1.0 if embeds else settings.cfg_scale,
        negative=networks.text.encode([""], kind)[0],
    )
    return [_pixels(networks, networks.vae.from_latent(latent[None])) for latent in latents]


def _through(networks: "TrainedNetworks", frames: np.ndarray) -> np.ndarray:
    """A clip encoded and decoded."""
    import torch

    from training.clip_tensors import to_tensor

    with torch.no_grad():
        return _pixels(networks, networks.vae.encode(to_tensor(frames)[None]).mode())


def _pixels(networks: "TrainedNetworks", sample: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        (video,) = networks.vae.decode(sample)
    return ((video.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()


def _facts(trained: "TrainingRun", scored: Sequence[Scored], resumed: Sequence[Resumed]) -> dict[str, Any]:
    rates = {
        one.what: {
            rate.name: {"hits": rate.hits, "tries": rate.tries, "interval": rate.interval, "chance": rate.chance}
            for rate in one.rates
        }
        for one in scored
    }
    return {"run_id": trained.run_id, "rates": rates, "resumed": [asdict(one) for one in resumed]}


def _table(trained: "TrainingRun", scored: Sequence[Scored], resumed: Sequence[Resumed]) -> str:
    """Held-out losses of every stage, whether taking up stages gave the same bits, then the score."""
    lines = ["", f"{'stage':<16}{'steps':>6}{'s':>6}   held-out loss"]
    for stage in trained.settings.stages:
        rows = trained.metrics.held_out(stage.name)
        losses = f"{rows[0]['loss']:.4f} -> {rows[-1]['loss']:.4f}" if rows else "no clip held out"
        lines.append(f"{stage.name:<16}{stage.steps:>6}{trained.results[stage.name].seconds:>6.0f}   {losses}")
    lines += ["", *map(str, resumed), ""]
    for one in scored:
        parts = []
        for rate in one.rates:
            low, high = rate.interval
            parts.append(f"{rate.name} {rate.rate:.2f} [{low:.2f}, {high:.2f}] (guessing {rate.chance:.2f})")
        lines.append(f"{one.what}: {', '.join(parts)}")
    return "\n".join(lines)
