"""Texts from structured captions."""

import pytest

from training.captions import assemble

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
