"""Two judges on the real server, one through its API and one in a browser; both pages work, fit and are answered."""

import json

import pytest

from annotation.project import AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings
from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B, Design
from annotation.study.desk import Desk, names_of_judges, open_desk
from annotation.study.pages import screen_of
from annotation.study.settings import StudySettings
from tests.annotation.browser import SIZE, given, open_stream, signed_in, submit
from tests.annotation.study.shown import Study, small_study
from tests.conftest import LABEL_STUDIO_VENV

pytestmark = [pytest.mark.slow, pytest.mark.live]
TEAM = AnnotationSettings(reviewers="team", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
AT_API, AT_SCREEN = names_of_judges(StudySettings(judges=2), TEAM)
PRESSED = {
    Design.PAIRWISE: ("1wdc", dict(zip(ALL_AXES, (A, TIE, B, B), strict=True))),
    Design.ABSOLUTE: ("1ws", dict(zip(AXES, (PASS, FAIL, FAIL), strict=True))),
}
VIDEOS = "[...document.querySelectorAll('video')]"
SCROLLING = """() => [...document.querySelectorAll('*')].filter(each =>
    ['auto', 'scroll'].includes(getComputedStyle(each).overflowY) && each.scrollHeight > each.clientHeight + 1
).map(each => each.className)"""


@pytest.mark.parametrize("design", Design)
def test_two_judges_answer_a_study_one_of_them_in_a_browser(label_studio_workspace, tmp_path, design):
    study = small_study(label_studio_workspace, f"two-judges-{design.value}", design, (AT_API, AT_SCREEN))
    keys, pressed = PRESSED[design]
    with open_desk(label_studio_workspace, study.settings, TEAM) as desk:
        desk.push(study.items, study.texts)
        logins = desk.login()
        others = answer_by_api(desk, study)
        mine = [item for item in study.items if item.judge == AT_SCREEN][:2]
        with signed_in(desk.connection, AT_SCREEN) as page:
            for number, item in enumerate(mine):
                if number == 0:
                    open_stream(page, logins[AT_SCREEN].url)
                    check_what_is_seen(page, design)
                    page.screenshot(path=tmp_path / f"{design.value}.png")
                page.wait_for_function(f"() => {VIDEOS}.some(v => v.src.includes('{item.media_a}'))")
                assert page.inner_text(".study .prompt").strip() == study.texts[item.prompt_id]
                for key in keys:
                    page.keyboard.press(key)
                assert given(page) == {axis: {"choices": [answer]} for axis, answer in pressed.items()}
                submit(page)
        answers, failures = desk.collect()
    assert not failures
    said = {(answer.judge, answer.item_key): json.loads(answer.answers) for answer in answers}
    assert said == others | {(AT_SCREEN, item.item_key): pressed for item in mine}
    assert all(answer.lead_time_s for answer in answers if answer.judge == AT_SCREEN)
    assert not any(answer.simulated for answer in answers)


def answer_by_api(desk: Desk, study: Study) -> dict[tuple[str, str], dict[str, str]]:
    """The first judge answers everything dealt to him, differently by item."""
    screen, given_answers = screen_of(study.settings.design), {}
    with desk.connection.as_member(AT_API) as member:
        for number, task in enumerate(member.open_tasks(desk.project(AT_API))):
            options = [
                [option.value for option in question.options]  # type: ignore[union-attr]
                for question in screen.questions.values()
            ]
            answers = {name: each[number % len(each)] for name, each in zip(screen.questions, options, strict=True)}
            member.answer(task, to_result(screen, answers))
            given_answers[AT_API, task.data["clip_id"]] = answers
    assert given_answers
    return given_answers


def check_what_is_seen(page, design: Design) -> None:
    """Videos play by themselves, muted, round and round, equally high; everything fits without scrolling."""
    page.wait_for_function(f"() => {VIDEOS}.every(v => v.readyState === 4 && !v.paused && v.currentTime > 0.1)")
    page.evaluate(f"() => {{ window.turns = 0; {VIDEOS}.forEach(v => v.onseeked = () => window.turns++) }}")
    count = 2 if design is Design.PAIRWISE else 1
    page.wait_for_function(f"() => window.turns >= {2 * count}")
    videos = page.evaluate(
        f"() => {VIDEOS}.map(v => [v.muted, v.loop, v.getBoundingClientRect().height, v.getBoundingClientRect().top])"
    )
    assert len(videos) == count and videos[0] == videos[-1] and videos[0][:2] == [True, True]
    assert videos[0][2] > SIZE["height"] / 3
    assert page.evaluate(SCROLLING) == []
    axes = [axis.bounding_box() for axis in page.locator(".study .axis").all()]
    below = page.get_by_test_id("bottombar-submit-button").bounding_box()["y"]
    assert len(axes) == len(PRESSED[design][1]) and all(box["y"] + box["height"] < below for box in axes)
