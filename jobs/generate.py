"""`dailies generate`: videos from pure noise and a prompt, with the weights of a training run or of a folder.

    --prompt, --image, recipe --> orders --------------------> this process (or --sequence-parallel) --> samples
    --prompts FILE -------------> orders --> engine, one model load per worker --+--> samples
                                    |                                           +--> failures
                                 --rewrite normal|master: a model puts the prompts into more words first

A sample's id is the content id of everything that decides its pixels, so running it again makes nothing twice. Beside
samples/<id>.mp4 (and .png of a still) lies <id>.json: prompt, seed, settings, digests of the weights; the same text is
in the file's metadata. A list's run ends with the equation prompts = results + failures + pending.
"""

import argparse
import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from curation.records import UserError, content_id
from jobs.engine import report
from jobs.processes import from_first, joined_processes
from jobs.progress import Progress
from jobs.prompts import Ask, check_size, read_prompts
from jobs.rewriting import Mode, RewriterSettings, rewrite, rewriter_of, rewriter_version

if TYPE_CHECKING:
    from curation.tables import Sample, Workspace
    from jobs.config import Context
    from jobs.generators import Source
    from jobs.sampling import Order

NOT_IN_PIXELS = {"prompts", "seed", "rewrite", "rewriter", "device", "retry"}  # or said by the sample itself


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
        default=1.0, ge=1, description="classifier-free guidance against the negative prompt; 1 is off, half the work"
    )
    negative_prompt: str = Field(default="", description="what cfg_scale leads away from")
    guidance: float = Field(
        default=6.0, ge=1, description="embedded guidance, for networks that were distilled to have it; else unused"
    )
    bfloat16_guidance: bool = Field(
        default=False, description="round embedded guidance as the official pipeline does, to match its samples"
    )
    tiling: Literal["none", "original", "diffusers"] = Field(
        default="original",
        description="tiles in which the VAE works on what is longer or wider than one of them: as the original does "
        "(256 px, 64 frames), as diffusers does (16 frames), or none at all",
    )
    picture_in_text: bool = Field(
        default=True, description="show a first frame to a language model that sees, as HunyuanVideo-I2V was trained"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="of transformer and text encoders; auto: bf16 on CUDA, fp32 elsewhere"
    )
    vae_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="of the VAE; auto: fp16 on CUDA, fp32 elsewhere"
    )
    device: str = Field(default="", description="torch device; empty: CUDA if there is any, else cpu")
    rewrite: Literal["none", "normal", "master"] = Field(
        default="none", description="have a model rewrite prompts first: normal keeps to the intent, master directs"
    )
    rewriter: RewriterSettings = Field(
        default_factory=RewriterSettings,
        description="the model that rewrites; without a `model`, annotation.drafter does",
    )
    retry: int = Field(default=0, ge=0, description="raise it to have prompts of a list that failed tried again")

    def shaping(self) -> dict[str, Any]:
        """The settings that shape pixels, as JSON values."""
        return self.model_dump(mode="json", exclude=NOT_IN_PIXELS)


@dataclass(frozen=True)
class Plan:
    """What is asked for, with which networks, and what of it is there already."""

    source: "Source"
    settings: GenerateSettings
    orders: "list[Order]"
    mode: Mode | None

    @property
    def with_pictures(self) -> bool:
        return any(order.picture_uri for order in self.orders)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="replaces the recipe's prompts")
    parser.add_argument("--prompts", metavar="FILE", help="a list to sample on all workers: .txt, .csv or .jsonl")
    parser.add_argument("--image", metavar="FILE", help="picture that becomes the first frame")
    parser.add_argument("--out", metavar="FILE", help="also write the sample here: .mp4, or .png of one frame")
    parser.add_argument("--run", metavar="RUN_ID", help="training run to use; the newest by default")
    parser.add_argument("--stage", metavar="NAME", help="flow stage of the run to use; the last finished by default")
    parser.add_argument("--weights", metavar="FOLDER", help="released or converted weights to use instead of a run")
    parser.add_argument("--rewrite", choices=("normal", "master"), help="have a model rewrite the prompts first")
    parser.add_argument(
        "--sequence-parallel", type=int, default=0, metavar="N", help="N processes of torchrun share each sample"
    )


def plan(context: "Context") -> Plan:
    """Check everything that was asked for and name its samples; loads no weights.

    Raises:
        UserError: an illegal size, a missing picture, no networks, or a rewriter that cannot be asked.
    """
    from jobs.generators import find_source

    settings, args = context.recipe.generate, context.args
    default = Ask("", settings.seed, settings.width, settings.height, settings.num_frames, args.image or "")
    if args.prompts:
        if args.prompt or args.out:
            raise UserError(
                "--prompts FILE replaces --prompt and writes into the workspace alone; leave out --prompt and --out"
            )
        asks = read_prompts(args.prompts, default)
    else:
        asks = [replace(default, prompt=prompt) for prompt in dict.fromkeys(args.prompt or settings.prompts)]
        check_size(default)
    _check_out(args.out, asks)
    mode: Mode | None = args.rewrite or (None if settings.rewrite == "none" else settings.rewrite)
    rewriter = rewriter_of(settings.rewriter, context.recipe.annotation.drafter)
    version = rewriter_version(mode, rewriter) if mode else ""
    text = context.recipe.train.text
    source = find_source(context.workspace, args.run or "", args.weights or "", text, args.stage or "")
    pictures = {
        path: _keep_picture(context.workspace, path) for path in sorted({ask.image for ask in asks if ask.image})
    }
    orders = [_order(ask, pictures.get(ask.image, ""), version, source, settings) for ask in asks]
    return Plan(source, settings, orders, mode)


def _check_out(out: str | None, asks: Sequence[Ask]) -> None:
    if not out:
        return
    if len(asks) != 1:
        raise UserError(f"--out takes one video, but there are {len(asks)} prompts; give a single --prompt")
    if not out.endswith((".mp4", ".png")) or (out.endswith(".png") and asks[0].num_frames != 1):
        raise UserError(
            f"--out {out} must end with .mp4, or with .png where num_frames is 1; it is {asks[0].num_frames}"
        )


def _keep_picture(workspace: "Workspace", path: str) -> str:
    """Copy a picture into the workspace, where every worker finds it, under the name of its content."""
    from jobs.sampling import PICTURES

    file = Path(path)
    if not file.is_file():
        raise UserError(f"there is no picture {path}")
    data = file.read_bytes()
    name = hashlib.sha256(data).hexdigest() + file.suffix.lower()
    if not workspace.exists(PICTURES, name):
        workspace.write_bytes(data, PICTURES, name)
    return f"{PICTURES}/{name}"


def _order(ask: Ask, picture_uri: str, rewriter: str, source: "Source", settings: GenerateSettings) -> "Order":
    from jobs.sampling import Order, row_of

    row = row_of(Order("", ask, "", picture_uri), source, settings)
    weights = sorted(f"{network} {digest}" for network, digest in source.weights_sha256.items())
    return Order(
        content_id(row.prompt, row.seed, row.settings, row.image, rewriter, *weights), ask, picture_uri=picture_uri
    )


def generate(context: "Context") -> list["Sample"]:
    """Make the samples that are not there yet, in this process; returns all that were asked for.

    Raises:
        UserError: as `plan`, a prompt that could not be rewritten, or a picture that cannot be read.
    """
    import torch

    torch.set_num_threads(context.recipe.train.threads)
    with joined_processes(context.args.sequence_parallel) as rank:
        planned = plan(context)
        known = from_first(made_samples(context.workspace))
        due = [order for order in planned.orders if order.sample_id not in known]
        if due and planned.mode:
            due = from_first(_rewritten(context, planned, due) if rank == 0 else None)
        if due:
            _make(context, planned, due, rank)
        return _say_samples(context, planned, {order.sample_id for order in due}) if rank == 0 else []


def made_samples(workspace: "Workspace") -> set[str]:
    """Ids of the samples that are there already."""
    return {sample_id for (sample_id,) in workspace.table("samples").distinct("sample_id")}


def _make(context: "Context", planned: Plan, due: "Sequence[Order]", rank: int) -> None:
    """Sample what is due; every process walks the steps, the first one writes."""
    from jobs.sampling import Sampler
    from training.sequence_parallel import sequence_parallel

    sampler = Sampler(context.workspace, planned.source, planned.settings, planned.with_pictures)
    _say_pictures(sampler, due, rank)
    shared = sequence_parallel(sampler.networks.dit) if context.args.sequence_parallel > 1 else nullcontext()
    total = len(due) * planned.settings.steps
    with shared, Progress("generate", total, "steps") if rank == 0 else nullcontext() as progress:
        for order in due:
            latent = sampler.latent(order, partial(_show, progress, order.read))
            if rank == 0:
                context.workspace.table("samples").append(order.sample_id, [sampler.write(order, latent)])


def _show(progress: Progress | None, prompt: str, step: int, total: int) -> None:
    del step, total
    if progress is not None:
        progress.advance(1, prompt[:40])


def _rewritten(context: "Context", planned: Plan, due: "Sequence[Order]") -> "list[Order]":
    """The orders with their prompts rewritten.

    Raises:
        UserError: what could not be rewritten, and why.
    """
    done, failed = ask_rewriter(context, planned, due)
    if failed:
        lines = "\n".join(f"  - {order.ask.prompt!r}: {reason}: {detail}" for order, reason, detail in failed)
        raise UserError(f"{len(failed)} of {len(due)} prompts could not be rewritten:\n{lines}")
    return done


def ask_rewriter(
    context: "Context", planned: Plan, due: "Sequence[Order]"
) -> "tuple[list[Order], list[tuple[Order, str, str]]]":
    """Orders with rewritten prompts, and those without, each with (reason, detail)."""
    assert planned.mode is not None
    rewriter = rewriter_of(planned.settings.rewriter, context.recipe.annotation.drafter)
    answers = rewrite([order.ask.prompt for order in due], planned.mode, rewriter)
    done: list[Order] = []
    failed: list[tuple[Order, str, str]] = []
    for order, answer in zip(due, answers, strict=True):
        if isinstance(answer, str):
            done.append(replace(order, rewritten=answer))
        else:
            failed.append((order, answer.reason, answer.detail))
    return done, failed


def _say_pictures(sampler: Any, due: "Sequence[Order]", rank: int) -> None:
    """What becomes of each first frame, since a network that was not trained for one may not keep to it."""
    from jobs.sampling import fit_picture, read_picture

    shown = [order for order in due if order.picture_uri]
    for order in shown if rank == 0 else []:
        data = sampler.workspace.read_bytes(order.picture_uri)
        _, how = fit_picture(read_picture(data, order.ask.image), order.ask.width, order.ask.height)
        print(f"generate: first frame {order.ask.image}, {how}", flush=True)
    if shown and rank == 0:
        sees = "sees it too" if sampler.sees else "reads the words alone"
        print(
            f"generate: a first frame is kept as the clean first latent frame, and the language model {sees}; what "
            "follows it fits only as far as the network was trained so (HunyuanVideo-I2V, token replace)",
            flush=True,
        )


def _say_samples(context: "Context", planned: Plan, made: set[str]) -> "list[Sample]":
    """Print a line for each sample, and write `--out`; returns their rows."""
    ids = [order.sample_id for order in planned.orders]
    rows = {row.sample_id: row for row in context.workspace.table("samples").having("sample_id", ids)}
    for order in planned.orders:
        row, state = rows[order.sample_id], "made" if order.sample_id in made else "made before"
        words = f"{row.prompt!r}{f', rewritten as {row.rewritten!r}' if row.rewritten else ''}"
        print(f"generate: {row.uri} ({state}), {words}, run {row.checkpoint}", flush=True)
    if context.args.out:
        wanted = rows[ids[0]].uri.removesuffix(".mp4") + Path(context.args.out).suffix
        Path(context.args.out).write_bytes(context.workspace.read_bytes(wanted))
    return [rows[sample_id] for sample_id in ids]


def run(context: "Context") -> int:
    if context.args.prompts and context.args.sequence_parallel <= 1:
        from jobs.sample_lists import generate_list

        return report(generate_list(context))
    generate(context)
    return 0
