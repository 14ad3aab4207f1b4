"""The settings of resolving say what does not fit."""

import pytest
from pydantic import ValidationError

from annotation.rules import ResolveSettings


def test_an_adjudicator_needs_a_name_and_a_job():
    with pytest.raises(ValidationError, match="needs adjudicator"):
        ResolveSettings(rule="adjudicated")
    with pytest.raises(ValidationError, match="decides nothing under majority"):
        ResolveSettings(adjudicator="zoe@example.org")


def test_rules_that_decide_differently_read_differently():
    texts = {ResolveSettings(rule="adjudicated", adjudicator=name).text for name in ("ann", "zoe")}
    assert len(texts | {ResolveSettings().text}) == 3
