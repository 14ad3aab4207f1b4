"""The words of the two designs, as everything else relies on them."""

from annotation.study.axes import ALL_AXES, AXES, FAIL, OVERALL, PASS, TIE, A, B


def test_the_overall_comes_last_after_the_published_three():
    assert (*AXES, OVERALL) == ALL_AXES and len(set(ALL_AXES)) == 4


def test_no_word_of_one_design_is_a_word_of_the_other():
    """Rows of both are told apart by what was answered, and read by one table of codes."""
    assert not {A, TIE, B} & {PASS, FAIL} and len({A, TIE, B, PASS, FAIL}) == 5
