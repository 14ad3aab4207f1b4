"""Progress in a log: a line at the start and the end, with counts, rate and the last note."""

from jobs.progress import Progress


def test_a_log_gets_the_start_and_the_end(capsys):
    with Progress("split", total=3, unit="videos") as progress:
        progress.advance(2)
        progress.advance(1, note="1 failure")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("split: 0/3 videos, 0 s")
    assert lines[-1].startswith("split: 3/3 videos") and lines[-1].endswith(", 1 failure")


def test_work_of_unknown_size_counts_up(capsys):
    with Progress("start server", total=None, unit="s") as progress:
        progress.advance(5)
    assert capsys.readouterr().err.splitlines()[-1].startswith("start server: 5 s")
