"""Studies that cannot be are refused when the recipe is read, with what to change."""

import pytest
from pydantic import ValidationError

from annotation.study.axes import Design
from annotation.study.settings import PlanSettings, StudySettings, SystemSettings

OURS, LUMA = (SystemSettings(name=name, videos=name) for name in ("ours", "luma"))


def test_two_systems_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="systems need names of their own"):
        StudySettings(systems=(OURS, OURS))


def test_one_system_is_judged_alone_or_not_at_all():
    assert StudySettings(systems=(OURS,), design=Design.ABSOLUTE).systems == (OURS,)
    with pytest.raises(ValidationError, match="a pairwise study compares two systems or more"):
        StudySettings(systems=(OURS,), design=Design.PAIRWISE)
    assert len(StudySettings(systems=(OURS, LUMA)).systems) == 2


@pytest.mark.parametrize("name", ["Study", "my study", "../outside", "", "a" * 42])
def test_a_name_that_is_no_folder_and_no_title_is_refused(name):
    with pytest.raises(ValidationError, match="String should"):
        StudySettings(name=name)


def test_assumed_shares_of_variance_must_fit():
    with pytest.raises(ValidationError, match="shares of variance must fit"):
        PlanSettings(agreement=0.9, judge_share=0.2)
    with pytest.raises(ValidationError, match="shares of variance must fit"):
        PlanSettings(agreement=0.9, taste_share=0.2)
    with pytest.raises(ValidationError, match=r"prompt_share 0\.5 at most agreement"):
        PlanSettings(prompt_share=0.5)
