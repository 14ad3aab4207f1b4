"""A judge who may open everything that Label Studio shows cannot tell which system made a video.

Community has no roles, so the one who peeks here has an ordinary account and with it everybody's rights. Each way that
we know is tried on the real server, and the systems' names, files, titles and codecs are looked for in what comes back:
tasks, exports, projects, storages, the page with its cookies and requests, the media files and what serves them, and
ways out of the folder of media to the tables that know.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import av
import httpx
import pytest

from annotation.connection import MEDIA
from annotation.project import AnnotationSettings
from annotation.server import ServerSettings
from annotation.study.axes import Design
from annotation.study.desk import Desk, open_desk, title_of
from annotation.study.tasks import STUDY_FOLDER
from annotation.tasks import local_files_address
from curation.study_records import ItemKind
from curation.tables import Workspace
from jobs.study_media import TIME_OF_ALL_S
from tests.annotation.browser import open_stream, signed_in
from tests.annotation.study.shown import SAME, SECRET, TELLING, Study, small_study
from tests.conftest import LABEL_STUDIO_VENV

pytestmark = [pytest.mark.slow, pytest.mark.live]
PEEKER = "judge-01@localhost"
OWN_HEADERS = ("date", "etag", "set-cookie", "content-length", "content-disposition")  # of the answer, not of the file


@dataclass(frozen=True)
class Peeking:
    """A study that is being asked, and one of its judges with all rights."""

    study: Study
    desk: Desk
    workspace: Workspace
    http: httpx.Client  # the judge's own

    @property
    def project(self) -> int:
        return self.desk.project(PEEKER).project_id

    def text(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer.text

    def file(self, media_key: str) -> httpx.Response:
        return self.http.get(local_files_address(media_key, STUDY_FOLDER))


@pytest.fixture(scope="module")
def peeking(label_studio_workspace: Workspace) -> Iterator[Peeking]:
    settings = AnnotationSettings(reviewers="team", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    study = small_study(label_studio_workspace, "blind", Design.PAIRWISE, (PEEKER, "judge-02@localhost"))
    with open_desk(label_studio_workspace, study.settings, settings) as desk:
        desk.push(study.items, study.texts)
        with desk.connection.as_member(PEEKER) as member:
            headers = member.authorization()
            with httpx.Client(base_url=member.url, headers=headers, trust_env=False, timeout=60) as http:
                yield Peeking(study, desk, label_studio_workspace, http)


def tells(content: str | bytes) -> list[str]:
    """What in it gives a system away."""
    raw = content.encode() if isinstance(content, str) else content
    return [word for word in (*TELLING, SECRET.decode()) if word.encode() in raw.lower()]


def test_the_tables_know_what_is_looked_for_here(peeking):
    for table in ("study_videos", "study_items"):
        assert peeking.workspace.table(table).records()
    assert tells(str(peeking.workspace.table("study_videos").records())), "else these tests could not fail"


def test_tasks_exports_and_the_data_manager_name_no_system(peeking):
    project, study = peeking.project, peeking.study
    mine = [item for item in study.items if item.judge == PEEKER]
    tasks = peeking.http.get(f"/api/tasks?project={project}&fields=all&page_size=100").json()["tasks"]
    assert [task["data"]["clip_id"] for task in sorted(tasks, key=lambda task: task["id"])] == sorted(
        item.item_key for item in mine
    ), "the order is that of keys, which are drawn from the secret"
    for task in tasks:
        assert set(task["data"]) == {"clip_id", "prompt", "video_a", "video_b"}
        assert not task["predictions"] and not task["meta"]
    looked_at = [f"/api/tasks/{task['id']}/" for task in tasks]
    looked_at += [f"/api/projects/{project}/export?exportType={kind}" for kind in ("JSON", "JSON_MIN", "CSV", "TSV")]
    looked_at = [f"{path}&download_all_tasks=true" if "export" in path else path for path in looked_at]
    looked_at += [f"/api/dm/columns?project={project}", f"/api/dm/views?project={project}"]
    seen = [peeking.text(path) for path in looked_at]
    assert all(any(item.media_a in text for item in mine) for text in seen[: len(tasks) + 4]), "the videos are in it"
    for path, text in zip(looked_at, seen, strict=True):
        assert not tells(text), path
        assert not [kind for kind in ItemKind if f'"{kind.value}"' in text], path


def test_projects_storages_members_and_hooks_name_no_system(peeking):
    project = peeking.project
    told = peeking.http.get(f"/api/projects/{project}/").json()
    assert told["title"] == title_of(peeking.study.settings, PEEKER) and not told["description"]
    assert not told["show_collab_predictions"]
    for path in (
        "/api/projects/?page_size=100",
        f"/api/projects/{project}/",
        f"/api/projects/{project}/summary/",
        f"/api/storages/localfiles?project={project}",
        f"/api/predictions/?task__project={project}",
        f"/api/webhooks/?project={project}",
        "/api/users/",
    ):
        assert not tells(peeking.text(path)), path


def test_files_differ_in_nothing_but_their_pictures(peeking):
    facts, contents = [], defaultdict(list)
    for video in peeking.study.videos:
        answer = peeking.file(video.media_key)
        assert answer.status_code == 200 and not tells(answer.content) and not tells(str(answer.headers))
        facts.append(_facts(answer))
        contents[video.prompt_id].append(answer.content)
    assert all(each == facts[0] for each in facts), "container, codec, settings, metadata, times, headers"
    assert b"crf=" in facts[0]["encoder"], "the settings were found, and are the same"
    assert facts[0]["changed"] == f'W/"{TIME_OF_ALL_S * 10**9:x}', "the server tells the time of change"
    for prompt_id, (one, other) in contents.items():
        assert (one == other) == (prompt_id in SAME), "the same pictures of two systems are the same bytes"


def _facts(answer: httpx.Response) -> dict:
    """All that a file says of itself but its name, its pictures and how many bytes those take."""
    with av.open(io.BytesIO(answer.content), "r") as container:
        stream = container.streams.video[0]
        settings = answer.content.partition(b"x264 - core")[2].partition(b"\0")[0].partition(b"\x80")[0]
        return {
            "changed": answer.headers["etag"].partition("-")[0],
            "headers": {key: value for key, value in answer.headers.items() if key not in OWN_HEADERS},
            "container": (container.format.name, container.metadata, container.duration, len(container.streams)),
            "stream": (stream.metadata, stream.frames, stream.time_base, stream.average_rate, stream.start_time),
            "codec": (stream.codec_context.codec_tag, stream.codec_context.profile, stream.codec_context.extradata),
            "size": (stream.width, stream.height, stream.codec_context.pix_fmt),
            "encoder": settings,
            "beginning": answer.content[:36],
        }


def test_no_address_leads_out_of_the_folder_of_media(peeking):
    workspace = peeking.workspace
    (table,) = [f"study_videos/{name}" for name in workspace.file_names("study_videos") if name.startswith("blind")]
    assert tells(workspace.read_bytes(*table.split("/"))) or tells(str(workspace.table("study_videos").read()))
    for path in (
        f"../{table}",
        f"study/../../{table}",
        f"study/%2e%2e/%2e%2e/{table}",
        f"study/..%2f..%2f{table}",
        f"..%252f{table}",
        f"....//{table}",
        f"{workspace.local_path(*table.split('/'))}",
        f"file://{workspace.local_path(*table.split('/'))}",
        "../label_studio/accounts/me@localhost.json",
        "study/",
        "study",
        "",
    ):
        answer = peeking.http.get(f"/data/local-files/?d={path}")
        assert answer.status_code != 200, path
        assert not tells(answer.content), path


def test_a_storage_of_ones_own_shows_opaque_names_and_nothing_above_them(peeking):
    made = peeking.http.post("/api/projects/", json={"title": "Peeking", "label_config": "<View/>"})
    project = made.raise_for_status().json()["id"]

    def storage(path: str) -> httpx.Response:
        wanted = {"project": project, "path": path, "use_blob_urls": True, "title": "mine"}
        return peeking.http.post("/api/storages/localfiles", json=wanted)

    root = peeking.workspace.local_path()
    for above in (
        root,
        root / "study_videos",
        root / "label_studio",
        root / MEDIA,
        root / MEDIA / "study" / ".." / "..",
    ):
        assert storage(str(above)).status_code == 400, above
    below = storage(str(root / MEDIA / STUDY_FOLDER))
    peeking.http.post(f"/api/storages/localfiles/{below.json()['id']}/sync").raise_for_status()
    listed = peeking.text(f"/api/tasks?project={project}&fields=all&page_size=1000")
    assert all(video.media_key in listed for video in peeking.study.videos) and not tells(listed)
    by_url = peeking.http.post(f"/api/projects/{project}/import", data={"url": f"file://{root}/study_videos"})
    assert by_url.is_error


def test_sides_are_balanced_and_follow_no_system(peeking):
    on_a = Counter(
        peeking.study.system[item.media_a] for item in peeking.study.items if item.kind != ItemKind.IDENTICAL.value
    )
    assert len(on_a) == 2 and len(set(on_a.values())) == 1


def test_the_page_its_cookies_and_what_it_asks_for_name_no_system(peeking):
    login = peeking.desk.login()[PEEKER]
    with signed_in(peeking.desk.connection, PEEKER) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        open_stream(page, login.url)
        stored = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])")
        cookies = page.context.cookies()
        source = page.content()
    assert sum("/data/local-files/" in url for url in asked) >= 2 and cookies
    assert any(video.media_key in source for video in peeking.study.videos)
    for content in (source, stored, str(cookies), "\n".join(asked)):
        assert not tells(content)
