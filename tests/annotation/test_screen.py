"""A page drawn from its questions: conditions, columns, heights."""

from xml.etree import ElementTree

from annotation.screen import (
    TALL_PX,
    WIDE_PX,
    ChoiceQuestion,
    Condition,
    NumberQuestion,
    Option,
    Panel,
    Screen,
    TextQuestion,
    render,
)

ASKED = ChoiceQuestion("fit", "Fit", (Option("yes", "1"), Option("no", "2")), required=True)
WHY = Panel("Why", (TextQuestion("why", "Why", "in a word"),), only_if=Condition("fit", "no"))


def drawn(*panels: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(render(Screen("page", panels)))


def test_a_panel_with_a_condition_is_hidden_until_it_holds():
    (hidden,) = (view for view in drawn(Panel("Fit", (ASKED,)), WHY).iter("View") if view.get("visibleWhen"))
    assert (hidden.get("whenTagName"), hidden.get("whenChoiceValue")) == ("fit", "no")
    assert [area.get("name") for area in hidden.iter("TextArea")] == ["why"]


def test_a_required_question_says_what_is_missing():
    (control,) = drawn(Panel("Fit", (ASKED,))).iter("Choices")
    assert control.get("required") == "true" and "Fit" in str(control.get("requiredMessage"))


def test_a_number_steps_by_its_key_and_is_never_negative():
    (number,) = drawn(Panel("From", (NumberQuestion("from", "From, s", "ctrl+alt+y", step=0.5),))).iter("Number")
    assert (number.get("min"), number.get("step"), number.get("hotkey")) == ("0", "0.5", "ctrl+alt+y")


def test_a_page_without_questions_below_the_video_gives_it_more_room():
    below = Panel("Below", (TextQuestion("more", "More", ""),), below=True)
    heights = [next(drawn(*panels).iter("Video")).get("height") for panels in ((WHY,), (WHY, below))]
    assert heights == [str(WIDE_PX), str(TALL_PX)]


def test_a_screen_knows_what_it_asks():
    screen = Screen("page", (Panel("Fit", (ASKED,)), WHY))
    assert screen.asks("why") and not screen.asks("fits")
    assert screen.conditions == {"fit": None, "why": Condition("fit", "no")}
