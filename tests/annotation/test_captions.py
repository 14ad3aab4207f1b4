"""Drafts say what is known and nothing else."""

from annotation.captions import BY_FACTS, DraftSettings, Wording, draft_caption
from curation.records import content_id
from tests.annotation.footage import clip

SETTINGS = DraftSettings(
    wordings=(Wording(scorer="motion", low_below=1, low="hardly any motion", high_above=5, high="strong motion"),)
)


def short(title: str, settings: DraftSettings = SETTINGS, **scores: float) -> str:
    return draft_caption(clip(), title, scores, settings).short


def test_a_draft_says_the_title_and_the_measured_facts_and_nothing_else():
    assert short("A street in Lyon", motion=9.0) == "A street in Lyon. Strong motion."
    assert short("A street in Lyon", motion=0.2) == "A street in Lyon. Hardly any motion."
    assert short("A street in Lyon", motion=3.0) == "A street in Lyon."
    assert short("A street in Lyon") == "A street in Lyon."


def test_without_title_and_scores_a_draft_is_still_true():
    assert short("") == "A shot."
    assert short(" \n") == "A shot."
    assert short("Street", SETTINGS.model_copy(update={"use_title": False})) == "A shot."


def test_the_default_words_fit_the_scorers_units():
    defaults = DraftSettings()
    assert short("", defaults, motion=0.61, sharpness=31.0, text_overlay=0.2) == (
        "Fast motion. Soft picture. Text on the picture."
    )
    assert short("Street", defaults, motion=0.2, sharpness=400.0, text_overlay=0.0) == "Street."


def test_titles_become_one_clean_sentence():
    assert short("rue de   Lyon.\n1896.") == "Rue de Lyon. 1896."


def test_a_draft_leaves_what_nobody_knows_empty_and_says_who_wrote_it():
    draft = draft_caption(clip(), "Street", {}, SETTINGS)
    assert draft.by == BY_FACTS
    assert (draft.dense, draft.camera_movement, draft.lighting) == ("", "", "")


def test_another_wording_is_another_version():
    first, second = (draft_caption(clip(), title, {}, SETTINGS) for title in ("Street", "Lane"))
    assert first.version != second.version
    assert first == draft_caption(clip(), "Street", {}, SETTINGS)


def test_a_sure_camera_movement_is_filled_in_and_a_doubtful_one_is_not():
    def movement(camera: tuple[str, float] | None, **settings: float) -> str:
        chosen = SETTINGS.model_copy(update=settings)
        return draft_caption(clip(), "Street", {}, chosen, camera).camera_movement

    assert movement(("pan left", 0.7)) == "pan left"
    assert movement(("pan left", 0.69)) == ""
    assert movement(("pan left", 0.69), min_camera_confidence=0.6) == "pan left"
    assert movement(None) == ""


def test_a_camera_movement_makes_another_version_and_its_absence_the_same_as_ever():
    versions = [
        draft_caption(clip(), "Street", {}, SETTINGS, camera).version
        for camera in (None, ("pan left", 0.1), ("pan left", 0.9), ("pan right", 0.9))
    ]
    assert versions[0] == versions[1] == content_id(BY_FACTS, "Street.")
    assert len(set(versions)) == 3
