from curation.cut_queue import CutQueue


def test_a_cut_waits_until_no_earlier_one_can_come() -> None:
    queue = CutQueue(min_shot_pts=0)
    queue.add([30])
    assert queue.release(20) == []
    queue.add([20, 40])
    assert queue.release(31) == [20, 30]
    assert queue.release(None) == [40]


def test_of_cuts_close_together_the_first_is_kept() -> None:
    queue = CutQueue(min_shot_pts=15)
    queue.add([100, 101, 114, 115])
    assert queue.release(None) == [100, 115]


def test_the_same_cut_of_two_detectors_is_one() -> None:
    queue = CutQueue(min_shot_pts=0)
    queue.add([7])
    queue.add([7])
    assert queue.release(None) == [7]
