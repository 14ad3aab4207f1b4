"""A task says the prompt and where the videos are, and nothing that tells what they are or why they are asked."""

from dataclasses import replace

from annotation.study.tasks import shown_media, to_task
from curation.study_records import ItemKind, StudyItem

ITEM = StudyItem("s", "i1", ItemKind.RANDOM.value, "p1", "m2", "m1", 0, 2, "judge-01@localhost")
ADDRESSES = {"m1": "/at/m1", "m2": "/at/m2"}


def test_a_task_holds_prompt_addresses_and_its_opaque_key_only():
    task = to_task(ITEM, "A fox.", ADDRESSES)
    assert task.data == {"clip_id": "i1", "prompt": "A fox.", "video_a": "/at/m2", "video_b": "/at/m1"}
    assert task.payload()["predictions"] == [] and task.answers_wanted == 2


def test_no_task_tells_why_it_is_asked_or_whose_it_is():
    plain = to_task(ITEM, "A fox.", ADDRESSES).payload()
    for kind in ItemKind:
        check = replace(
            ITEM, kind=kind.value, judge="other@localhost", round=3, repeats="i0", expected='{"overall": "A"}'
        )
        assert to_task(check, "A fox.", ADDRESSES).payload() == plain


def test_one_video_alone_has_no_second_side():
    assert "video_b" not in to_task(replace(ITEM, media_b=""), "A fox.", ADDRESSES).data
    assert shown_media([ITEM, replace(ITEM, media_a="m3", media_b="")]) == ["m1", "m2", "m3"]
