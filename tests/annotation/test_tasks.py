"""A clip as a task, and what is kept out of it."""

from annotation.project import SCREEN
from annotation.tasks import DRAFTS, to_task
from curation.records import Caption
from tests.annotation.footage import clip

DRAFT = Caption("c1", "draft:facts", "1", "A street.", camera_movement="pan left")


def test_the_address_of_the_clip_survives_a_change_of_port():
    assert to_task(SCREEN, clip(), DRAFT).data["video"] == "/data/local-files/?d=clips/c1.mp4"


def test_a_task_tells_nothing_that_would_bias_the_answer():
    data = to_task(SCREEN, clip(uri="s3://bucket/films/street.mp4"), DRAFT).data
    assert data == {
        "clip_id": "c1",
        "video": "/data/local-files/?d=clips/c1.mp4",
        "frame_rate": "29.97",
        "source": "street.mp4, 1.00-3.00 s",
    }


def test_the_draft_fills_only_the_fields_it_knows():
    (prediction,) = to_task(SCREEN, clip(), DRAFT).payload()["predictions"]
    assert prediction["model_version"] == DRAFTS
    assert [(item["from_name"], item["value"]) for item in prediction["result"]] == [
        ("short", {"text": ["A street."]}),
        ("camera_movement", {"choices": ["pan left"]}),
    ]
