"""A prompt list sampled on the engine's workers, one model load each; a killed worker loses nothing.

    orders --rewrite, here, where it is wanted--> orders --engine--> SampleWorker x N --+--> samples
                       |                                                                +--> failures
                       +--> failures: prompts that no model could rewrite

Prompts are rewritten before workers start, so that two large models never share a GPU.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import ray

from curation.records import Failure, content_id
from jobs.cluster import joined
from jobs.engine import EngineSettings, Item, Job, Tally, run as run_job
from jobs.generate import Plan, ask_rewriter, made_samples, plan
from jobs.sampling import Order, SampleWorker

if TYPE_CHECKING:
    from jobs.config import Context


def generate_list(context: "Context") -> Tally:
    """Sample a prompt list on the engine's workers; every prompt ends in `samples` or `failures`.

    Raises:
        UserError: as `plan`.
    """
    planned, workspace = plan(context), context.workspace
    job = Job(
        name="generate",
        unit="prompts",
        digest=content_id("generate", planned.settings.retry),
        tables=("samples",),
        items=_items(planned.orders),
        make_worker=partial(SampleWorker, workspace.uri, planned.source, planned.settings, planned.with_pictures),
        finished=partial(made_samples, workspace),
    )
    if planned.mode:
        job = replace(job, items=_items(_rewrite_list(context, planned, job)))
    with joined():
        return run_job(job, workspace, _with_gpus(context))


def _items(orders: list[Order]) -> list[Item]:
    """One for each sample: two rows may name the same picture by two paths."""
    return [_item(order) for order in {order.sample_id: order for order in orders}.values()]


def _item(order: Order) -> Item:
    return Item(f"{order.ask.where} {order.ask.prompt[:40]!r}", {order.sample_id: order})


def _rewrite_list(context: "Context", planned: Plan, job: Job) -> list[Order]:
    """All orders, those that are due rewritten; what could not be rewritten becomes rows of `failures`."""
    table = context.workspace.table("failures")
    failed_before = {row.input_id for row in table.records() if (row.job, row.job_digest) == (job.name, job.digest)}
    settled = job.finished() | failed_before
    due = [order for order in planned.orders if order.sample_id not in settled]
    done, failed = ask_rewriter(context, planned, due) if due else ([], [])
    if failed:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            Failure(job.name, job.digest, order.sample_id, _item(order).label, reason, detail, now)
            for order, reason, detail in failed
        ]
        table.append(content_id(job.digest, "rewriting", *sorted(row.input_id for row in rows)), rows)
    rewritten = {order.sample_id: order for order in done}
    return [rewritten.get(order.sample_id, order) for order in planned.orders]


def _with_gpus(context: "Context") -> EngineSettings:
    """The engine's settings, with one GPU per worker where the cluster has some and nothing else was said."""
    settings, device = context.recipe.engine, context.recipe.generate.device
    num_gpus = ray.cluster_resources().get("GPU", 0.0)
    if settings.gpus_per_worker or not num_gpus or device == "cpu":
        return settings
    print(f"generate: one of the cluster's {num_gpus:g} GPUs for each worker", flush=True)
    return settings.model_copy(update={"gpus_per_worker": 1.0})
