"""`dailies study report`: one inert page with its videos, complete over a whole study, sensible over any."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annotation.study.axes import Design
from annotation.study.settings import CheckSettings
from curation.records import UserError
from curation.tables import Measurement
from jobs.config import Recipe
from jobs.study_report import stated_rule, write_study_report
from tests.jobs.studied import STUDY, studied
from tests.jobs.test_report import Page

QUALITIES = {"ours": 0.9, "the <other>": 0.2, "third": 0.1}


def recipe(design: Design, **study: object) -> Recipe:
    settings = {"name": STUDY, "design": design, "bootstraps": 200, "checks": {"fewest_checks": 2}}
    return Recipe.model_validate({"study": {**settings, **study}})


@pytest.fixture(scope="module", params=list(Design))
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.value)
    workspace = studied(folder, request.param, QUALITIES, num_prompts=24, num_judges=7, missing=[("third", 3)])
    measured = [
        Measurement("ours", "system", "dynamic_degree", "1", f'{{"set": "study {name}"}}', value)
        for name, value in ((STUDY, 0.612), ("another", 0.345))
    ]
    workspace.table("measurements").append("m", measured)
    return workspace, request.param, write_study_report(workspace, recipe(request.param))


def test_the_page_names_systems_and_tells_who_leads(written):
    workspace, design, path = written
    html = Path(path).read_text()
    page = Page(html)
    assert path == workspace.path("study_report", STUDY, "report.html")
    assert "ours leads" in page.text or "ours is ahead" in page.text
    assert "the <other>" in page.text and "<other>" not in html, "names are escaped"
    figures = pq.read_table(workspace.local_path("study_report", STUDY, "figures.parquet")).to_pylist()
    ranks = {row["system"]: row["value"] for row in figures if row["figure"] == "rank" and row["judges"] == "counted"}
    assert ranks["ours"] == 1 and sorted(ranks.values()) == [1, 2, 3]
    assert ("strength" in page.text) == (design is Design.PAIRWISE)
    assert "dynamic degree" in page.text and "0.6120" in page.text and "0.3450" not in page.text


def test_the_careless_judge_is_left_out_and_both_results_are_given(written):
    workspace, _, path = written
    page = Page(Path(path).read_text())
    assert "1 of 7 judges failed the checks" in page.text and "1 left out" in page.text
    assert "without them" in page.text and "with everybody" in page.text
    judges = pq.read_table(workspace.local_path("study_report", STUDY, "judges.parquet")).to_pylist()
    assert [row["judge"] for row in judges if row["left_out"]] == ["judge-07@localhost"]
    figures = pq.read_table(workspace.local_path("study_report", STUDY, "figures.parquet"))
    assert set(figures["judges"].to_pylist()) == {"counted", "everybody"}


def test_every_video_and_answer_is_accounted_for(written):
    workspace, _, path = written
    text = Page(Path(path).read_text()).text
    assert "72 prompts x systems = 71 shown + 1 without a video" in text
    assert "no video: the folder has no file of this prompt" in text
    answers = workspace.table("study_answers").read().num_rows
    told = text.split(f"answers : {answers:,} = ")[1].split("1 without a video")[0]
    assert sum(int(part.split()[0].replace(",", "")) for part in told.split(" + ")) == answers


def test_nothing_in_the_page_asks_a_network_and_its_videos_lie_beside_it(written):
    workspace, _, path = written
    html = Path(path).read_text()
    assert "media-src 'self'" in html and "https://" not in html
    shown = [attributes["src"] or "" for tag, attributes in Page(html).elements if tag == "video"]
    assert shown and all(workspace.exists("study_report", STUDY, *address.split("/")) for address in shown)
    links = [attributes["href"] or "" for tag, attributes in Page(html).elements if tag == "a"]
    files = [link for link in links if not link.startswith("#")]
    assert len(files) == 6 and all(workspace.exists("study_report", STUDY, name) for name in files)


def test_the_same_tables_give_the_same_bytes(written):
    workspace, design, path = written
    before = Path(path).read_text()
    assert Path(write_study_report(workspace, recipe(design))).read_text() == before


def test_a_study_without_answers_says_what_to_do(tmp_path):
    workspace = studied(tmp_path, Design.PAIRWISE, {"a": 0.0, "b": 0.0}, num_prompts=4, answers_wanted=0, media=False)
    page = Page(Path(write_study_report(workspace, recipe(Design.PAIRWISE))).read_text())
    assert "No answers yet." in page.text and "dailies study collect" in page.text


def test_one_judge_and_one_system_are_a_study_too(tmp_path):
    workspace = studied(
        tmp_path,
        Design.ABSOLUTE,
        {"ours": 0.4},
        num_prompts=12,
        num_judges=1,
        careless=0,
        answers_wanted=1,
        media=False,
    )
    page = Page(Path(write_study_report(workspace, recipe(Design.ABSOLUTE))).read_text())
    assert "Too few judges to speak of others" in page.text and "1 judge," in page.text
    assert "agreement cannot be told" in page.text


def test_an_unknown_study_is_refused_by_name(tmp_path):
    workspace = studied(tmp_path, Design.ABSOLUTE, {"ours": 0.4}, num_prompts=2, media=False)
    with pytest.raises(UserError, match=r"no study 'other'.*there are: blind.*study\.name"):
        write_study_report(workspace, recipe(Design.ABSOLUTE, name="other"))


def test_the_rule_is_stated_in_the_settings_own_numbers():
    checks = CheckSettings(least_gold=0.75, least_identical=0.4, fewest_checks=9, least_seconds=2.5)
    rule = stated_rule(checks, Design.PAIRWISE)
    assert all(text in rule for text in ("75%", "40% of identical pairs", "9 items", "2.5 s"))
    assert "identical" not in stated_rule(checks, Design.ABSOLUTE)
