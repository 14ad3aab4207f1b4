"""Texts from structured captions."""

import pytest

from training.caption_settings import CaptionSettings
from training.captions import assemble, caption_texts, with_conditions
from training.data import PackedClip

CAPTION = {
    "short": "a red disc",
    "dense": "a red disc moves right over stripes.",
    "background": "grey stripes",
    "style": "",
    "lighting": "even light",
    "camera_movement": "static shot",
}


def test_without_a_seed_every_known_field_appears_once_in_a_fixed_order():
    text = "A red disc. A red disc moves right over stripes. Grey stripes. Even light. Static shot."
    assert assemble(CAPTION) == text


def test_the_same_seed_gives_the_same_text_and_seeds_vary_length_and_order():
    texts = [assemble(CAPTION, seed, 0.3) for seed in range(50)]
    assert texts == [assemble(CAPTION, seed, 0.3) for seed in range(50)]
    assert len(set(texts)) > 15
    assert any(text.index("Static") < text.index("Grey") for text in texts if "Static" in text and "Grey" in text)
    assert any(text.index("Static") > text.index("Grey") for text in texts if "Static" in text and "Grey" in text)


def test_dropout_never_takes_the_description_away():
    assert all(assemble(CAPTION, seed, 1.0).startswith("A red disc") for seed in range(20))


def test_a_caption_that_describes_nothing_is_refused():
    with pytest.raises(ValueError, match="a short or a dense description"):
        assemble({"short": " ", "style": "rendered"})


TELLING = CaptionSettings(tell=("motion", "frame_rate", "aesthetic"), variants=12)
WHOLE = assemble(CAPTION)


def clip_with(num_frames: int = 17, frame_rate: float = 8.0, **scores: float) -> PackedClip:
    return PackedClip("some clip", "video", "shard", 64, 64, num_frames, CAPTION, frame_rate, scores)


def test_the_first_text_is_the_whole_caption_and_the_others_are_drawn_by_the_clip_alone():
    texts = caption_texts(clip_with(), CaptionSettings(variants=6))
    assert len(texts) == 6 and texts[0] == WHOLE
    assert len(set(texts)) > 3
    assert texts[:4] == caption_texts(clip_with(), CaptionSettings(variants=4))


def test_conditions_are_told_after_the_caption_in_steps():
    clip = clip_with(frame_rate=23.976, motion=0.08, aesthetic=4.49)
    texts = caption_texts(clip, TELLING)
    assert texts[0] == f"{WHOLE} Frame rate 24. Motion 3 of 5. Aesthetics 2 of 5."
    assert all(text.find("Motion") > text.find("disc") for text in texts if "Motion" in text)
    told = sum("Motion 3 of 5." in text for text in texts)
    assert 4 < told < 12  # facts drop out of variants as fields do


@pytest.mark.parametrize(("score", "step"), [(0.0, 1), (0.01, 2), (0.19, 3), (0.39, 4), (5.0, 5)])
def test_each_edge_begins_the_next_step(score, step):
    settings = TELLING.model_copy(update={"tell": ("motion",)})
    assert caption_texts(clip_with(motion=score), settings)[0].endswith(f"Motion {step} of 5.")


def test_what_is_not_known_of_a_clip_is_not_told():
    assert caption_texts(clip_with(), TELLING)[0] == f"{WHOLE} Frame rate 8."
    assert caption_texts(clip_with(num_frames=1, motion=0.3), TELLING)[0] == WHOLE
    assert caption_texts(clip_with(motion=0.3), CaptionSettings())[0] == WHOLE


def test_a_prompt_asks_in_the_words_of_the_captions():
    clip = clip_with(motion=0.3, aesthetic=9.0)
    assert with_conditions(WHOLE, frame_rate=8, motion=4, aesthetic=5) == caption_texts(clip, TELLING)[0]
    assert with_conditions("a red disc", motion=1) == "A red disc. Motion 1 of 5."
    assert with_conditions("a red disc") == "a red disc"
    with pytest.raises(ValueError, match="steps from 1 to 5, got 6"):
        with_conditions("a red disc", motion=6)
