"""`dailies trace`: the lineage as a person reads it, and as a program does."""

import argparse
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from curation.records import UserError
from curation.shards import point_to
from curation.tables import PackFate
from jobs import trace
from jobs.config import Context
from jobs.lineage import lineage
from jobs.pack_fates import Fate, unused, write_fates
from jobs.trace import answers_of, caption_text, fate_text, show
from tests.jobs.finished import NASTY_NAME, finished_context, ordered_clips


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


def shown(context: Context, clip_id: str) -> str:
    sink = io.StringIO()
    show(lineage(context.workspace, clip_id), Console(file=sink, width=160))
    return sink.getvalue()


def test_everything_is_said_in_order(context):
    clip = ordered_clips(context.workspace)[0]
    text = shown(context, clip.clip_id)
    wanted = (
        clip.clip_id, "film.mp4", "sharpness", "120", "image: keep", "at least 10", "video: keep", "sft: review",
        "sent to people", "simulated-clarity@localhost (SIMULATED)", "verdict: keep", "camera movement",
        "2 keep, 0 reject", "majority, ties reject", "A textured pattern drifts",
        "shards/image/image-1.tar", "vae", " to 40",
    )  # fmt: skip
    missing = [part for part in wanted if part not in text]
    assert missing == []
    assert text.index("scores") < text.index("gates") < text.index("answers") < text.index("packed")


def test_what_has_not_happened_says_so(context):
    """The sixth clip is rejected everywhere, so nobody was asked and nothing holds it."""
    text = shown(context, ordered_clips(context.workspace)[5].clip_id)
    for phrase in (
        "image: reject",
        "sharpness 4 < 10",
        "never sent",
        "nobody has answered",
        "in no shard",
        "no training",
    ):
        assert phrase in text


def test_a_failed_score_shows_its_error(context):
    text = shown(context, ordered_clips(context.workspace)[6].clip_id)
    assert "failed: nothing <to> see" in text and NASTY_NAME in text.replace("\n", "")


def test_markup_in_names_and_answers_is_printed_not_obeyed(context):
    found = lineage(context.workspace, ordered_clips(context.workspace)[0].clip_id)
    answer = replace(found.annotations[0], answers=json.dumps({"verdict": "[bold]keep[/nonsense]"}))
    sink = io.StringIO()
    show(replace(found, annotations=(answer,), clip=replace(found.clip, uri="[red]film[/].mp4")), Console(file=sink))
    assert "[red]film[/].mp4" in sink.getvalue() and "[bold]keep[/nonsense]" in sink.getvalue()


def test_the_verb_prints_text_or_json_and_takes_a_prefix(context, capsys):
    clip_id = ordered_clips(context.workspace)[0].clip_id
    parser = argparse.ArgumentParser()
    trace.add_arguments(parser)
    assert trace.run(replace(context, args=parser.parse_args([clip_id[:8]]))) == 0
    assert clip_id in capsys.readouterr().out
    assert trace.run(replace(context, args=parser.parse_args([clip_id, "--json"]))) == 0
    assert json.loads(capsys.readouterr().out)["clip"]["clip_id"] == clip_id
    with pytest.raises(UserError, match="no clip 'zz' among the 8 clips"):
        trace.run(replace(context, args=parser.parse_args(["zz"])))


def test_the_fate_of_the_current_plan_is_shown_and_older_ones_are_not(tmp_path):
    context = finished_context(tmp_path)
    clip = ordered_clips(context.workspace)[0]
    used = PackFate(clip.clip_id, "video", "", Fate.USED, "", "gates", "112x64x9@8,64x64x9@8", 2, 0.125, 0.5)
    plan = write_fates(context.workspace, "video", [used])
    old = unused(clip.clip_id, "video", Fate.TOO_SMALL, "the old reason")
    write_fates(context.workspace, "video", [old])
    assert "not packed yet" in shown(context, clip.clip_id)
    point_to(context.workspace, "video", ["video-1"], plan)
    text = shown(context, clip.clip_id)
    assert "used in 112x64x9@8,64x64x9@8, 2 members, cropped by 12.5%, trimmed by 0.50 s" in text
    assert "the old reason" not in text
    assert fate_text(old) == "too small: the old reason"


def test_answers_begin_with_the_verdict_and_leave_the_caption_out(context):
    answer = lineage(context.workspace, ordered_clips(context.workspace)[0].clip_id).annotations[0]
    answers = answers_of(
        replace(answer, answers='{"a": 3, "short": "x", "verdict": "reject", "reject_reasons": ["dull", "unsafe"]}')
    )
    assert list(answers.items()) == [("verdict", "reject"), ("a", "3"), ("reject_reasons", "dull, unsafe")]


def test_caption_text_names_all_but_the_short_field():
    assert caption_text({"short": "A ball.", "dense": "", "shot_type": "close-up"}) == "A ball. | shot type: close-up"
