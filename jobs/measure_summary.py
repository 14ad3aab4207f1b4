"""Means of what was measured, per checkpoint and per system, and what training measured on its way.

    measurements of videos --by group and protocol--> mean of each measure, dynamic degree --+
    checkpoints/<run>/metrics.jsonl --held-out rows--> flow_loss@0.3, vae_psnr_db, ... ------+--> measurements

Dynamic degree (VBench, arXiv 2311.17982) is the share of a group's videos with `dynamics` above the threshold. It
stands in the note of every mean that a still video would win, so that nobody reads one without the other. These rows
follow from others: their parts are written anew, under the same name, by every run of `measure`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from curation.records import content_id
from curation.tables import Measurement, Workspace
from jobs.measure_films import CHECKPOINTS, Film
from jobs.measure_settings import CHEATED_BY_STILLNESS, DYNAMICS, MeasureSettings

DYNAMIC_DEGREE = "dynamic_degree"
LEVEL = "noise_"  # of the parts of a flow's held-out rows
VERSION = "1"


def summarise(
    films: Iterable[Film], rows: Mapping[str, Mapping[str, Measurement]], settings: MeasureSettings
) -> list[Measurement]:
    """The means of each group of films whose protocol is the same; `rows` by subject and measure.

    A film without rows, which is a failure, is left out of the mean, and the note counts it.
    """
    groups: dict[tuple[str, str, tuple[tuple[str, Any], ...]], list[Film]] = defaultdict(list)
    for film in films:
        groups[film.group, film.group_kind, film.protocol].append(film)
    found = []
    for (group, kind, protocol), members in sorted(groups.items(), key=lambda each: str(each[0])):
        prompts = content_id(*sorted(film.prompt for film in members))
        told = {**dict(protocol), "prompts": prompts, "videos": len(members)}
        measured = [rows[film.subject] for film in members if film.subject in rows]
        found += _means(group, kind, told, len(members) - len(measured), measured, settings)
    return found


def _means(
    group: str,
    kind: str,
    told: Mapping[str, Any],
    num_failed: int,
    measured: Sequence[Mapping[str, Measurement]],
    settings: MeasureSettings,
) -> Iterator[Measurement]:
    failed = [f"{num_failed} of {told['videos']} videos are not measured"] if num_failed else []
    moving = [of_film[DYNAMICS] for of_film in measured if DYNAMICS in of_film]
    speeds = [row.value for row in moving if row.value is not None]
    degree = _mean([float(speed > settings.dynamic_above) for speed in speeds])
    protocol = json.dumps(told, sort_keys=True)
    if moving:
        threshold = json.dumps({**told, "dynamic_above": settings.dynamic_above}, sort_keys=True)
        note = "; ".join([*failed, *_undefined(moving)])
        yield Measurement(group, kind, DYNAMIC_DEGREE, moving[0].version, threshold, degree, len(speeds), note)
    for name in settings.scorers:
        own = [of_film[name] for of_film in measured if name in of_film]
        if not own:
            continue
        values = [row.value for row in own if row.value is not None]
        beside = [f"dynamic degree {degree:.2f}"] if name in CHEATED_BY_STILLNESS and degree is not None else []
        note = "; ".join([*beside, *failed, *_undefined(own)])
        yield Measurement(group, kind, name, own[0].version, protocol, _mean(values), len(values), note)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _undefined(rows: Sequence[Measurement]) -> list[str]:
    """How many have no value, with the first reason."""
    reasons = [row.note for row in rows if row.value is None]
    return [f"{len(reasons)} videos have no value, such as: {reasons[0]}"] if reasons else []


def training_measurements(workspace: Workspace, run_id: str) -> list[Measurement]:
    """What a run measured on its held-out clips, as far as its metrics file says."""
    from training.metrics import Metrics
    from training.trained import read_run

    settings, _ = read_run(workspace, run_id)
    held_out = json.loads(workspace.read_bytes(CHECKPOINTS, run_id, "run.json"))["held_out"]
    of_all = {"set": f"held-out clips, {settings.held_out_clips} at most", "clips": content_id(*held_out)}
    rows = Metrics(workspace, CHECKPOINTS, run_id, "metrics.jsonl").rows
    found = []
    for stage in settings.stages:
        told = {**of_all, "sources": ", ".join(sorted(stage.shards)), "size": "as packed, whole clips"}
        told["weights"] = "averaged"
        if stage.network == "dit":
            vae = [above for above in settings.above(stage) if above.network == "vae"][-1]
            told |= {"noise": "fixed by clip and level", "latents": _weights_of(workspace, run_id, vae.name)}
        for row in rows:
            if row["kind"] == "held_out" and row["stage"] == stage.name:
                found += _of_held_out(f"{run_id}/{stage.name}@{row['step']}", stage.objective, row, told)
    return found


def _weights_of(workspace: Workspace, run_id: str, stage: str) -> str:
    """Digest of what a finished stage ended with: losses compare only where latents are those of one VAE."""
    from training.checkpoint import AVERAGE, CheckpointStore

    store = CheckpointStore(workspace, CHECKPOINTS, run_id, stage)
    return store.state(max(store.steps()))["sha256"][AVERAGE] if store.steps() else "not kept"


def _of_held_out(
    subject: str, objective: str, row: Mapping[str, Any], told: Mapping[str, Any]
) -> Iterator[Measurement]:
    protocol, loss = json.dumps(told, sort_keys=True), f"{objective}_loss"
    values = {loss: row["loss"]} if objective != "vae" else {}
    for name, value in row.get("parts", {}).items():
        values[f"vae_{name}" if objective == "vae" else f"{loss}@{name.removeprefix(LEVEL)}"] = value
    for name, value in values.items():
        yield Measurement(subject, "checkpoint", name, VERSION, protocol, value, row.get("clips", 1))


def write_anew(workspace: Workspace, name: str, rows: Iterable[Measurement]) -> int:
    """Replace the rows that were derived under this name before; returns how many there are now."""
    return workspace.table("measurements").append(f"derived-{content_id(name)}", rows)
