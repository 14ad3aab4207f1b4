"""`dailies generate`: videos from pure noise and a prompt, with the weights of a training run.

    prompt --text encoders--> conditions --+
    seed   --> noise latent ---------------+--> Euler steps --> latent --VAE--> samples/<sample_id>.mp4, .json

A sample's id is the content id of everything that decides its pixels, so running it again makes nothing twice.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from curation.records import UserError, content_id
from jobs.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from curation.tables import Sample
    from jobs.config import Context
    from training.curriculum import TrainedNetworks

SIZE_STEP_PX, FRAMES_STEP = (
    16,
    4,
)  # the VAE shrinks sides by 8 and the DiT's patch by 2; time by 4 after the first frame
FOLDER = "samples"


class GenerateSettings(BaseModel, frozen=True, extra="forbid"):
    """What to generate and how to sample it."""

    prompts: tuple[str, ...] = Field(
        default=("a textured object moves across the frame", "a slow camera move over a landscape"),
        description="one video per prompt; `--prompt` replaces the list",
    )
    seed: int = Field(default=0, ge=0, description="seed of the initial noise")
    width: int = Field(default=64, ge=16, description="px, a multiple of 16")
    height: int = Field(default=64, ge=16, description="px, a multiple of 16")
    num_frames: int = Field(default=17, ge=1, description="4n + 1; 1 makes a still image")
    frame_rate: float = Field(
        default=8.0, gt=0, description="frames per second of the file: that of the clips that were trained on"
    )
    steps: int = Field(default=30, ge=1, description="Euler steps from noise to video")
    shift: float = Field(
        default=3.0, gt=0, description="timestep shift of the sampler: 7 at 50 steps, 17 below 20 for 720p"
    )
    cfg_scale: float = Field(
        default=1.0, ge=1, description="classifier-free guidance against the empty prompt; 1 is off and half the work"
    )
    guidance: float = Field(
        default=6.0, ge=1, description="embedded guidance, for networks that were distilled to have it; else unused"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="replaces the recipe's prompts")
    parser.add_argument("--out", metavar="FILE.mp4", help="also write the video here (with a single prompt)")
    parser.add_argument("--run", metavar="RUN_ID", help="training run to use; the newest by default")


def check_size(settings: GenerateSettings) -> None:
    """Refuse sizes that the networks cannot make.

    Raises:
        UserError: names the nearest legal value.
    """
    for name in ("width", "height"):
        given = getattr(settings, name)
        if given % SIZE_STEP_PX:
            nearest = max(1, round(given / SIZE_STEP_PX)) * SIZE_STEP_PX
            raise UserError(f"generate.{name} must be a multiple of {SIZE_STEP_PX} px, got {given}; nearest: {nearest}")
    if settings.num_frames % FRAMES_STEP != 1:
        nearest = round((settings.num_frames - 1) / FRAMES_STEP) * FRAMES_STEP + 1
        raise UserError(f"generate.num_frames must be 4n+1, got {settings.num_frames}; nearest: {nearest}")


def sample_frames(
    trained: "TrainedNetworks", prompt: str, settings: GenerateSettings, on_step: Callable[[int, int], None]
) -> "np.ndarray":
    """One video, uint8 RGB [T, H, W, 3]: noise from the seed, Euler steps, VAE."""
    import torch

    from model.sampler import sample

    kind = "image" if settings.num_frames == 1 else "video"
    (text,) = trained.text.encode([prompt], kind)
    (negative,) = trained.text.encode([""], kind)
    config = trained.vae.config
    shape = (
        config.latent_channels,
        (settings.num_frames - 1) // config.temporal_compression + 1,
        settings.height // config.spatial_compression,
        settings.width // config.spatial_compression,
    )
    (latent,) = sample(
        trained.dit,
        [shape],
        [text.states],
        text.pooled[None],
        settings.steps,
        settings.shift,
        torch.Generator().manual_seed(settings.seed),
        guidance=settings.guidance if trained.dit.config.guidance else None,
        cfg_scale=settings.cfg_scale,
        negative=negative,
        progress=on_step,
    )
    with torch.no_grad():
        video = trained.vae.decode(trained.vae.from_latent(latent[None]))[0]
    return ((video.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()


def generate(context: "Context") -> list["Sample"]:
    """Make the samples that are not there yet; returns all that were asked for.

    Raises:
        UserError: an illegal size, `--out` with several prompts, or no trained run.
    """
    import torch

    from training.curriculum import load_trained, newest_run

    settings, workspace, args = context.recipe.generate, context.workspace, context.args
    prompts = tuple(args.prompt) or settings.prompts
    check_size(settings)
    if args.out and len(prompts) != 1:
        raise UserError(f"--out takes one video, but there are {len(prompts)} prompts; give a single --prompt")
    torch.set_num_threads(context.recipe.train.threads)
    trained = load_trained(workspace, args.run or newest_run(workspace))
    samples = [_sample_row(trained, prompt, settings) for prompt in prompts]
    known = {sample_id for (sample_id,) in workspace.table("samples").distinct("sample_id")}
    due = [sample for sample in samples if sample.sample_id not in known]
    with Progress("generate", total=len(due) * settings.steps, unit="steps") as progress:
        for sample in due:
            _make(context, trained, sample, progress)
    for sample in samples:
        state = "made" if sample in due else "made before"
        print(f"generate: {sample.uri} ({state}), {sample.prompt!r}, run {sample.checkpoint}", flush=True)
    if args.out:
        Path(args.out).write_bytes(workspace.read_bytes(samples[0].uri))
    return samples


def _sample_row(trained: "TrainedNetworks", prompt: str, settings: GenerateSettings) -> "Sample":
    from curation.tables import Sample

    how = settings.model_dump(mode="json", exclude={"prompts", "seed"})
    sample_id = content_id(prompt, settings.seed, json.dumps(how, sort_keys=True), *sorted(_weights(trained)))
    checkpoint = f"{trained.run_id}/{trained.stage}"
    return Sample(sample_id, f"{FOLDER}/{sample_id}.mp4", prompt, settings.seed, json.dumps(how), checkpoint)


def _weights(trained: "TrainedNetworks") -> list[str]:
    return [f"{network} {digest}" for network, digest in trained.weights_sha256.items()]


def _make(context: "Context", trained: "TrainedNetworks", sample: "Sample", progress: Progress) -> None:
    """Write the video, then its facts, then the row: a row without a video cannot be."""
    from curation.transcode import write_frames

    settings, workspace = context.recipe.generate, context.workspace
    frames = sample_frames(
        trained, sample.prompt, settings, lambda step, total: progress.advance(1, sample.prompt[:40])
    )
    facts: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "prompt": sample.prompt,
        "seed": sample.seed,
        "settings": json.loads(sample.settings),
        "run_id": trained.run_id,
        "stage": trained.stage,
        "weights_sha256": trained.weights_sha256,
    }
    workspace.write_bytes(write_frames(frames, settings.frame_rate), FOLDER, f"{sample.sample_id}.mp4")
    workspace.write_bytes(json.dumps(facts, indent=1).encode(), FOLDER, f"{sample.sample_id}.json")
    workspace.table("samples").append(sample.sample_id, [sample])


def run(context: "Context") -> int:
    generate(context)
    return 0
