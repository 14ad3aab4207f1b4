"""Settings of captions."""

import pytest
from pydantic import ValidationError

from training.caption_settings import CaptionSettings


def test_steps_that_do_not_rise_are_refused():
    with pytest.raises(ValidationError, match="edges between steps must rise"):
        CaptionSettings(motion_edges=(0.1, 0.1, 0.2, 0.3))


def test_what_can_be_told_is_named_where_something_else_is_asked():
    with pytest.raises(ValidationError, match="'frame_rate', 'motion' or 'aesthetic'"):
        CaptionSettings(tell=("sharpness",))  # type: ignore[arg-type]
