"""A prompt list on real Ray actors: every prompt ends in samples or failures, whatever happens to a worker."""

import json
from dataclasses import replace

import pytest

from annotation.vision_models import DrafterSettings
from curation.tables import Workspace
from jobs.engine import EngineSettings, Tally
from jobs.sample_lists import generate_list
from tests.annotation.chat_server import MODEL, chat, error, serving
from tests.jobs.faults import killing
from tests.jobs.trained import SETTINGS, context

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]
ENGINE = EngineSettings(workers=1, memory_gib_per_worker=0.3, items_per_part=1)


def found(workspace: Workspace, prompts: list[str]) -> tuple[set[str], dict[str, str]]:
    """Prompts of this test that became samples, and failures of `generate` by label."""
    samples = {row.prompt for row in workspace.table("samples").records() if row.prompt in prompts}
    failures = {row.label: row.reason for row in workspace.table("failures").records() if row.job == "generate"}
    return samples, failures


def test_a_killed_worker_loses_nothing_a_bad_picture_is_a_failure_and_again_does_nothing(trained_workspace, tmp_path):
    prompts = [f"a disc, number {number}" for number in range(6)]
    (tmp_path / "text.png").write_text("no picture")
    rows = [{"prompt": prompt, "size": "32x32x5"} for prompt in prompts]
    rows.append({"prompt": "a torn picture", "image": "text.png"})
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = SETTINGS.model_copy(update={"steps": 60})  # long enough to be killed in the middle
    asked = context(trained_workspace, settings, prompts=str(tmp_path / "p.jsonl"), engine=ENGINE)

    def one_is_done(kills: int) -> bool:
        return bool(found(trained_workspace, prompts)[0])

    with killing(1, one_is_done) as killed:
        tally = generate_list(asked)
    assert len(killed) == 1
    samples, failures = found(trained_workspace, prompts)
    assert samples == set(prompts)
    assert failures == {"p.jsonl:7 'a torn picture'": "unreadable picture"}
    assert isinstance(tally, Tally) and (tally.results, tally.pending, tally.exit_code) == (6, 0, 0)
    again = generate_list(asked)
    assert replace(again, new_results=0) == replace(tally, new_results=0) and again.new_results == 0


def test_a_prompt_that_cannot_be_rewritten_is_a_failure_and_the_others_are_sampled(trained_workspace, tmp_path):
    (tmp_path / "p.txt").write_text("a square\na ring\n")

    def answer(number, body):
        text = body["messages"][0]["content"][0]["text"]
        return error(400, "not this one") if "ring" in text else chat('{"prompt": "A blue square rests."}')

    settings = SETTINGS.model_copy(update={"width": 32, "height": 32})
    with serving(answer) as server:
        drafter = DrafterSettings(model=MODEL, url=server.url)
        asked = context(trained_workspace, settings, drafter, ENGINE, prompts=str(tmp_path / "p.txt"), rewrite="normal")
        tally = generate_list(asked)
        assert generate_list(asked).exit_code == 0
        assert len(server.bodies) == 2, "neither the sample nor the failure is asked about again"
    (row,) = (row for row in trained_workspace.table("samples").records() if row.prompt == "a square")
    assert row.rewritten == "A blue square rests."
    assert (tally.inputs, tally.results, dict(tally.failures)) == (2, 1, {"endpoint refused": 1})
