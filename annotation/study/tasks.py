"""An item of a study as a task: the prompt, where the videos are, and nothing else.

A task is read by everybody who has an account: Label Studio Community shows all of its data in the Data Manager. So it
holds no system, no kind of item (a repeat looks like any other), no judge, nothing of a source; addresses carry
`media_key` and the task is known by `item_key`, both drawn from the study's secret.
"""

from collections.abc import Iterable, Mapping

from annotation.tasks import KEY, Task
from curation.study_records import StudyItem

STUDY_FOLDER = "study"  # below the media folder
PROMPT, VIDEO_A, VIDEO_B = "prompt", "video_a", "video_b"


def shown_media(items: Iterable[StudyItem]) -> list[str]:
    """Keys of all videos that the items show, sorted."""
    return sorted({key for item in items for key in (item.media_a, item.media_b) if key})


def to_task(item: StudyItem, prompt: str, addresses: Mapping[str, str]) -> Task:
    """The item as judges see it; `addresses` is media key -> what the page tells the player."""
    data = {KEY: item.item_key, PROMPT: prompt, VIDEO_A: addresses[item.media_a]}
    if item.media_b:
        data[VIDEO_B] = addresses[item.media_b]
    return Task(clip_id=item.item_key, data=data, draft=[], answers_wanted=item.answers_wanted)
