"""The two pages in a real browser: clips play and seek, stray typing changes nothing, answers come back as given."""

import string

import numpy as np
import pytest

from annotation.connection import MEDIA, connect
from annotation.project import FAST, FULL, AnnotationSettings
from annotation.results import read_answers
from annotation.server import ServerSettings
from annotation.tasks import proxy_path, to_task
from curation.records import Caption
from curation.tables import Workspace
from curation.transcode import write_frames
from tests.annotation.browser import given, open_stream, signed_in, submit
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV
from tests.footage import drift, texture

pytestmark = [pytest.mark.slow, pytest.mark.live]
DRAFT = Caption("b1", "draft:facts", "1", "A street.", camera_movement="pan left")
SECONDS, RATE = 4, 25


@pytest.fixture
def desks(label_studio_workspace: Workspace):
    settings = AnnotationSettings(title="Browser", reviewers="me", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    video = write_frames(np.stack([*drift(texture(1, (640, 360)), SECONDS * RATE, (2.0, 0.0))]), RATE)
    with connect(label_studio_workspace, settings) as connection:
        for number, desk in enumerate(connection.desks):
            clip_id = f"b{number}"
            label_studio_workspace.write_bytes(video, MEDIA, *proxy_path(clip_id).split("/"))
            connection.client.push(desk.project, [to_task(desk.screen, clip(clip_id), DRAFT)])
        connection.client.show_drafts(connection.desks[-1].project)
        yield connection


def test_both_pages_in_a_browser(desks):
    fast, full = desks.desks
    with signed_in(desks) as page:
        open_stream(page, fast.project.labeling_url)
        check_playing_and_seeking(page)
        check_that_only_digits_answer(page)
        for key in "25":
            page.keyboard.press(key)
        submit(page)

        open_stream(page, full.project.labeling_url)
        check_that_typing_beside_the_boxes_changes_nothing(page)
        answer_in_full(page)
        check_that_typing_beside_the_boxes_changes_nothing(page)
        submit(page)

    (raw,) = desks.client.pull_all(fast.project)
    assert read_answers(FAST, raw.result)[0] == {"verdict": "reject", "reject_reasons": ["hardly moves"]}
    (raw,) = desks.client.pull_all(full.project)
    answers, origins = read_answers(FULL, raw.result)
    assert answers == {
        "verdict": "keep",
        "color_harmony": 1,
        "lighting_quality": 2,
        "object_emphasis": 3,
        "spatial_layout": 4,
        "motion_speed": 5,
        "action_integrity": 4,
        "motion_blur": 2,
        "segment_start_s": 0.5,
        "segment_end_s": 3.5,
        "short": "A street.",
        "dense": "A grey street drifts by.",
        "camera_movement": "pan left",
    }
    assert origins["short"] == origins["camera_movement"] == "prediction"
    assert origins["dense"] == origins["verdict"] == "manual"
    assert raw.lead_time_s and raw.lead_time_s > 0


def check_playing_and_seeking(page) -> None:
    page.get_by_test_id("playback-button:play").click()
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.5")
    page.get_by_test_id("playback-button:pause").click()
    page.evaluate("() => { document.querySelector('video').currentTime = 3 }")
    page.wait_for_function(
        "() => { const v = document.querySelector('video'); return !v.seeking && v.currentTime > 2.9 }"
    )


def check_that_only_digits_answer(page) -> None:
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.type(string.ascii_letters + " .,;-/")  # playwright types `!` as a 1 without shift
    assert given(page) == {}


def check_that_typing_beside_the_boxes_changes_nothing(page) -> None:
    page.evaluate("() => document.activeElement.blur()")
    before = given(page)
    assert before["short"] == {"text": ["A street."]} and before["camera_movement"] == {"choices": ["pan left"]}
    page.keyboard.type(string.ascii_letters + string.digits + " .,;:-_!?'\"()[]")
    assert given(page) == before


def answer_in_full(page) -> None:
    page.keyboard.press("Control+Alt+1")
    for key, stars in zip("uiopjk", (1, 2, 3, 4, 5, 4), strict=True):
        for _ in range(stars):
            page.keyboard.press(f"Alt+{key}")
    page.locator(".dailies .rating").nth(6).locator("[role=radio]").nth(1).click()  # two stars by hand
    page.fill("input[name=segment_start_s]", "0.5")
    page.fill("input[name=segment_end_s]", "3.5")
    page.fill("textarea[name=dense]", "A grey street drifts by.")
