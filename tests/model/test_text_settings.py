"""Templates that can be meant, and text dropout at the rates that were asked for."""

import pytest

from model.text_settings import TextDropout, TextSettings


@pytest.mark.parametrize("template", ["no place", "{prompt} and {prompt}"])
def test_a_template_holds_the_prompt_once(template: str) -> None:
    with pytest.raises(ValueError, match=r"holds \{prompt\} exactly once, this one [02] times"):
        TextSettings(video_template=template)


def test_a_picture_template_holds_the_picture_once() -> None:
    with pytest.raises(ValueError, match=r"holds \{image\} exactly once, this one 0 times"):
        TextSettings(picture_template="{prompt}")


def shares(dropout: TextDropout) -> tuple[float, float, float]:
    """Shares of 4,000 prompts without the states, without the vector, and without both."""
    pairs = [dropout.apply("rain", seed) for seed in range(4000)]
    states, pooled = [pair[0] == "" for pair in pairs], [pair[1] == "" for pair in pairs]
    return sum(states) / 4000, sum(pooled) / 4000, sum(map(all, zip(states, pooled, strict=True))) / 4000


def test_both_are_left_out_together_or_each_by_itself() -> None:
    together = shares(TextDropout(rate=0.1))
    assert together[0] == together[1] == together[2] == pytest.approx(0.1, abs=0.02)
    apart = shares(TextDropout(rate=0.316, pooled_rate=0.316))
    assert apart == pytest.approx((0.316, 0.316, 0.1), abs=0.03)
    assert shares(TextDropout(rate=0.0, pooled_rate=1.0)) == (0.0, 1.0, 0.0)


def test_the_same_seed_gives_the_same_answer() -> None:
    dropout = TextDropout(rate=0.5, pooled_rate=0.5)
    assert len({dropout.apply("rain", 7) for _ in range(5)}) == 1
    assert len({dropout.apply("rain", seed) for seed in range(50)}) == 4
