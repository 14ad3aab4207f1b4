"""Routing to the real Label Studio: the review band, once, with drafts and proxies."""

import pytest

from annotation.captions import BY_FACTS
from annotation.connection import MEDIA, connect
from jobs import route
from jobs.route import RouteTally
from tests.jobs.catalogue import clips_in, context_of
from tests.jobs.reviewed import reviewed_context


def test_nothing_to_review_needs_no_server(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 20.0, 1.0, 1.0])
    assert route.run(context) == 0
    assert "0 clips = 0 pushed + 0 already there + 0 failed" in capsys.readouterr().out
    assert not context.workspace.exists("label_studio")


def test_the_equation_does_not_hold_when_a_clip_is_lost():
    assert RouteTally(clips=3, pushed=1, there=1, failed=1, on_server=2).holds
    for lost in (RouteTally(3, 1, 1, 0, 2), RouteTally(3, 2, 1, 0, 2)):
        assert not lost.holds
        assert "DOES NOT HOLD" in str(lost)


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_the_review_band_is_pushed_once_with_drafts_and_playable_proxies(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Route test")
    workspace = context.workspace
    kept, *review = [clip.clip_id for clip in clips_in(context)]
    assert route.run(context) == 0
    assert "route: 3 clips = 3 pushed + 0 already there + 0 failed" in capsys.readouterr().out
    rows = [row for row in workspace.table("tasks").records() if row.project == "Route test"]
    assert {row.clip_id for row in rows} == set(review) and kept not in review
    assert all(row.reason.startswith("video: ") for row in rows)
    drafts = {(row.clip_id, row.version) for row in workspace.table("captions").records() if row.by == BY_FACTS}
    assert {(row.clip_id, row.draft_version) for row in rows} <= drafts
    assert all(workspace.exists(MEDIA, "clips", f"{clip_id}.mp4") for clip_id in review)
    assert not workspace.exists(MEDIA, "clips", f"{kept}.mp4"), "nobody looks at what the gates kept"

    stems = workspace.table("tasks").stems() | workspace.table("captions").stems()
    assert route.run(context) == 0
    assert "route: 3 clips = 0 pushed + 3 already there + 0 failed" in capsys.readouterr().out
    assert workspace.table("tasks").stems() | workspace.table("captions").stems() == stems


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_rows_lost_in_a_crash_after_the_push_are_made_good_without_pushing_again(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Crash test")
    tasks = context.workspace.table("tasks")
    others = tasks.stems()
    route.run(context)
    before = tasks.distinct()
    (written,) = tasks.stems() - others
    tasks.remove(written)
    assert tasks.distinct() != before
    capsys.readouterr()
    assert route.run(context) == 0
    assert "0 pushed + 3 already there" in capsys.readouterr().out
    assert tasks.distinct() == before
    with connect(context.workspace, context.recipe.annotation) as connection:
        assert connection.client.num_tasks(connection.project) == 3
