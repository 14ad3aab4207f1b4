"""Both pages explain every axis, answer by keys of their own, and read back what they offer."""

from xml.etree import ElementTree

import pytest

from annotation.results import InvalidAnswer, read_answers, to_result
from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B, Design
from annotation.study.pages import PAIR_ANCHORS, PASS_ANCHORS, draw, screen_of

ANSWERS = {Design.PAIRWISE: (ALL_AXES, (A, TIE, B), PAIR_ANCHORS), Design.ABSOLUTE: (AXES, (PASS, FAIL), PASS_ANCHORS)}
both = pytest.mark.parametrize("design", Design)


@both
def test_the_page_asks_its_axes_with_all_answers_and_a_key_for_each(design):
    axes, answers, _ = ANSWERS[design]
    controls = list(ElementTree.fromstring(draw(design, 1.5)).iter("Choices"))
    assert tuple(control.get("name") for control in controls) == axes
    assert all(control.get("required") == "true" for control in controls)
    assert {tuple(choice.get("value") for choice in control) for control in controls} == {answers}
    keys = [choice.get("hotkey") for control in controls for choice in control]
    assert len(set(keys)) == len(axes) * len(answers) and all(keys)


@both
def test_every_axis_is_explained_with_a_worked_example_on_the_page(design):
    axes, answers, anchors = ANSWERS[design]
    said = [header.get("value") for header in ElementTree.fromstring(draw(design, 1.5)).iter("Header")]
    assert set(anchors) == set(axes)
    for anchor in anchors.values():
        assert {*anchor.means, anchor.example} <= set(said)
        assert any(answer in anchor.example for answer in answers)


@both
def test_videos_loop_muted_at_one_height_that_follows_from_their_shape(design):
    page = ElementTree.fromstring(draw(design, 0.5625))
    (player,) = page.iter("HyperText")
    videos = ElementTree.fromstring(
        str(player.get("value"))
        .replace(" autoplay loop muted playsinline controls", ' loop="" muted="" autoplay=""')
        .replace(" disablepictureinpicture", "")
    ).iter("video")
    shown = [video.attrib for video in videos]
    assert [video["src"] for video in shown] == ["$video_a", "$video_b"][: len(shown)]
    assert len(shown) == (2 if design is Design.PAIRWISE else 1)
    assert all({"loop", "muted", "autoplay"} <= video.keys() for video in shown)
    (style,) = page.iter("Style")
    assert "/ 0.5625))" in str(style.text) and "HEIGHT" not in str(style.text) and "SHAPE" not in str(style.text)
    assert ">" not in str(style.text), "Label Studio would leave it escaped, and the rule would not hold"


@both
def test_what_the_page_offers_is_what_is_read_back(design):
    axes, answers, _ = ANSWERS[design]
    for answer in answers:
        given = dict.fromkeys(axes, answer)
        assert read_answers(screen_of(design), to_result(screen_of(design), given))[0] == given
    with pytest.raises(InvalidAnswer, match="must be answered"):
        read_answers(screen_of(design), to_result(screen_of(design), dict.fromkeys(axes[1:], answers[0])))
    other = next(each for each in Design if each is not design)
    with pytest.raises(InvalidAnswer):
        foreign = dict.fromkeys(axes, ANSWERS[other][1][0])
        read_answers(screen_of(design), to_result(screen_of(design), foreign))
