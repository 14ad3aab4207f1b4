"""The report as a whole: one inert file that works offline, complete over a full workspace, sensible over any."""

import argparse
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs import report
from jobs.config import Context
from jobs.report import PLAYER, ReportSettings, render_report
from tests.jobs.finished import NASTY_NAME, empty_context, finished_context, ordered_clips

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects elements and text, and checks that every element that opens also closes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def html(context) -> str:
    return render_report(context.workspace, context.recipe)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_the_verb_writes_the_file_and_prints_its_path(context, capsys):
    assert report.run(context) == 0
    path = context.workspace.local_path("report.html")
    assert f"report: {path}" in capsys.readouterr().out
    assert path.read_text().startswith("<!doctype html>")


def test_the_same_workspace_gives_the_same_bytes(context, html):
    assert render_report(context.workspace, context.recipe) == html


def test_nothing_in_the_page_asks_a_network(page, html):
    for tag, attributes in page.elements:
        for name in ("src", "href", "poster", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:60])
    assert "default-src 'none'" in html and "url(" not in re.sub(r"url\(#", "", html) and "@import" not in html


def test_names_and_answers_that_try_to_be_html_are_inert(page):
    """A file name, a container title, a failure and a prompt of this workspace hold markup."""
    assert page.scripts == [PLAYER], "the page's own script and no other"
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "iframe", "object", "embed", "form"}
    assert "b" in tags and not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for text in (
        NASTY_NAME,
        "</script><script>alert('title')</script>",
        "<img src=x onerror=alert(1)>.mp4",
        "<b>bold</b>",
    ):
        assert " ".join(text.split()) in page.text


def test_the_first_sentence_has_the_numbers_that_matter(page):
    assert (
        "3 files became 8 clips (1 file could not be split); simulated annotators kept 2 of the 3 they judged; "
        "6 different clips were packed for training; 2 training stages ran 80 steps "
        "(held-out loss of the last: 1.210 before, 0.510 after); 1 video was generated."
    ) in page.text


def test_every_section_is_filled(page):
    for text in (
        "split : 3 files = 2 results + 1 failure (1 not a video) + pending not known",
        "score : 8 clips = 8 results + 0 failures + 0 pending",
        "at least 20, a person decides from 15",
        "no <stream> in it",
        "7 clips, 1 without a value; higher is better",
        "Rejected, from some stages or all",
        "image: sharpness 4 < 10",
        "disagreements first",
        "Reasons given for rejecting: hardly moves (1).",
        "1 packed clip was held out",
        "40 of 50 steps",
        "psnr db",
        "read it 3 times, steps",
        "a <b>bold</b> ball rolls",
    ):
        assert text in page.text, text
    assert "Next:" not in page.text


def test_simulated_answers_are_said_to_be_simulated_at_the_top_and_on_each(page):
    assert page.text.index("6 of 6 answers in this report were made by simulated") < page.text.index(
        "What became of it"
    )
    assert page.text.count("simulated ") >= 8


def test_answers_of_people_carry_no_such_banner(context, tmp_path):
    other = finished_context(tmp_path)
    rows = [
        replace(row, simulated=False, annotator="ann@studio") for row in other.workspace.table("annotations").records()
    ]
    other.workspace.table("annotations").append("answers", rows)
    text = Page(render_report(other.workspace, other.recipe)).text
    assert "made by simulated annotators" not in text and "people kept 2 of the 3" in text


def test_videos_have_everything_to_play_and_their_number_follows_the_settings(context, page):
    videos = [attributes for tag, attributes in page.elements if tag == "video"]
    assert len(videos) == 6 + 1 + 3 + 1 + 1  # survivors, reject, answered, sample, lineage
    for attributes in videos:
        assert {"muted", "loop", "controls"} <= attributes.keys() and attributes["preload"] == "none"
        assert str(attributes["src"]).startswith("data:video/mp4;base64,")
    settings = ReportSettings(num_survivors=1, num_rejects=0, num_answers=0, num_samples=0)
    fewer = Page(render_report(context.workspace, context.recipe.model_copy(update={"report": settings})))
    assert sum(tag == "video" for tag, _ in fewer.elements) == 2


def test_the_wanted_clip_is_traced_and_an_unknown_one_is_refused(context):
    clip = ordered_clips(context.workspace)[5]
    settings = ReportSettings(num_survivors=0, num_rejects=0, num_answers=0, trace_clip_id=clip.clip_id[:9])
    text = Page(render_report(context.workspace, context.recipe.model_copy(update={"report": settings}))).text
    assert f"dailies trace {clip.clip_id}" in text and "nobody has answered" in text and "in no shard" in text
    unknown = context.recipe.model_copy(update={"report": ReportSettings(trace_clip_id="zz")})
    with pytest.raises(UserError, match="no clip 'zz' among the 8 clips"):
        render_report(context.workspace, unknown)


def test_an_empty_workspace_says_what_to_run_next(tmp_path):
    empty = empty_context(tmp_path)
    text = Page(render_report(empty.workspace, empty.recipe)).text
    assert "This workspace is empty: nothing has been split yet." in text
    assert text.count("Next: dailies") >= 7


@pytest.mark.parametrize("missing", ["scores", "gate_verdicts", "annotations", "human_verdicts", "captions", "tasks",
                                     "shard_members", "shards", "train_reads", "samples", "failures", "videos",
                                     "sources", "recipes", "checkpoints"])  # fmt: skip
def test_a_workspace_in_any_half_finished_state_has_a_report(context, tmp_path, missing):
    """Each table in turn is not there yet."""
    shutil.copytree(context.workspace.root, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / missing)
    settings = ReportSettings(num_survivors=1, num_rejects=1, num_answers=1)
    Page(render_report(Workspace(str(tmp_path)), context.recipe.model_copy(update={"report": settings})))


def test_a_source_that_is_gone_leaves_a_sentence_in_its_place(tmp_path):
    context = finished_context(tmp_path)
    (tmp_path / "film.mp4").unlink()
    assert "cannot be shown" in Page(render_report(context.workspace, context.recipe)).text


def test_report_has_no_flags_of_its_own():
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    assert vars(parser.parse_args([])) == {}
