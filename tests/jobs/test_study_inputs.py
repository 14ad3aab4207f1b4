"""What a study compares: prompts as people keep them, files as benchmarks name them, and never one of several."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation.study.settings import StudySettings, SystemSettings
from curation.records import UserError
from curation.study_records import StudyPrompt
from curation.tables import Sample, Workspace
from jobs.study_inputs import find_videos, read_study_prompts

CAT, BOAT = "A cat, on a mat", "A boat in a storm / 35 mm"
LONG = "In a long corridor of an old hotel a child rides a tricycle, camera behind"


def prompt(prompt_id: str, text: str) -> StudyPrompt:
    return StudyPrompt("study", prompt_id, text)


PROMPTS = [prompt("cat", CAT), prompt("boat", BOAT), prompt("0007", LONG)]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


def folder_of(tmp_path, *names: str):
    folder = tmp_path / "system"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found_in(folder, workspace, **settings):
    videos = find_videos(SystemSettings(name="s", videos=str(folder), **settings), PROMPTS, workspace)
    return videos, {key: found.uri.rsplit("/", 1)[-1] or found.reason for key, found in videos.found.items()}


def read(tmp_path, name: str, content: str, **settings) -> list[StudyPrompt]:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_study_prompts(StudySettings(prompts=str(tmp_path / name), **settings))


def test_the_same_prompts_are_read_from_every_kind_of_table_with_their_categories(tmp_path):
    rows = [{"prompt_id": "1", "prompt": CAT, "motion": "low"}, {"prompt_id": "2", "prompt": BOAT, "motion": "high"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    tables = [
        read(tmp_path, "p.csv", f'prompt_id,prompt,motion\n1,"{CAT}",low\n2,"{BOAT}",high\n'),
        read(tmp_path, "p.jsonl", "\n".join(map(json.dumps, rows))),
        read_study_prompts(StudySettings(prompts=str(tmp_path / "p.parquet"))),
    ]
    assert tables[0] == tables[1] == tables[2]
    assert [(row.prompt_id, row.prompt, row.categories) for row in tables[0]] == [
        ("1", CAT, '{"motion": "low"}'),
        ("2", BOAT, '{"motion": "high"}'),
    ]


def test_a_list_of_prompts_gets_ids_that_do_not_depend_on_their_place(tmp_path):
    there = {row.prompt: row.prompt_id for row in read(tmp_path, "p.txt", f"{CAT}\n\n{BOAT}\n")}
    back = {row.prompt: row.prompt_id for row in read(tmp_path, "p.txt", f"{BOAT}\n{CAT}\n")}
    assert there == back and len(set(there.values())) == 2


def test_only_the_named_columns_are_categories(tmp_path):
    (row,) = read(tmp_path, "p.csv", f'prompt,motion,note\n"{CAT}",low,mine\n', categories=("motion",))
    assert json.loads(row.categories) == {"motion": "low"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "prompt,motion\n,low\n", "p.csv:2: the prompt is empty"),
        ("p.csv", "prompt\na cat\na cat\n", "1 values of prompt stand there more than once, such as 'a cat'"),
        ("p.csv", "prompt_id,prompt\n1,a\n1,b\n", "1 values of prompt_id stand there more than once, such as '1'"),
        ("p.csv", "prompt\na cat, on a mat\n", "p.csv:2 has more fields than columns; put quotes"),
        ("p.txt", "\n", "holds no prompt"),
        ("p.xlsx", "x", "is none of .csv, .jsonl, .parquet, .txt"),
    ],
)
def test_a_table_that_cannot_be_a_study_says_where_and_why(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, content)


def test_a_category_that_is_no_column_and_a_missing_table_are_refused(tmp_path):
    with pytest.raises(UserError, match="has no column 'genre'; it has motion"):
        read(tmp_path, "p.csv", "prompt,motion\na,low\n", categories=("genre",))
    with pytest.raises(UserError, match="is not there"):
        read_study_prompts(StudySettings(prompts=str(tmp_path / "no.csv")))
    with pytest.raises(UserError, match=r"study\.prompts is not set"):
        read_study_prompts(StudySettings())


def test_files_are_found_by_id_by_number_and_by_the_prompt_as_benchmarks_write_it(tmp_path, workspace):
    folder = folder_of(tmp_path, "cat.mp4", "deep/a boat in a storm _ 35 mm-0.mp4", "7.webm", "notes.txt", "dog.mp4")
    videos, names = found_in(folder, workspace)
    assert names == {"cat": "cat.mp4", "boat": "a boat in a storm _ 35 mm-0.mp4", "0007": "7.webm"}
    assert [place.rsplit("/", 1)[-1] for place in videos.strangers] == ["dog.mp4"]


def test_a_name_that_was_cut_short_fits_the_only_prompt_that_begins_so(tmp_path, workspace):
    folder = folder_of(tmp_path, f"{LONG[:50]}-3.mp4", "a cat.mp4", "cat.mp4")
    videos, names = found_in(folder, workspace)
    assert names["0007"] == f"{LONG[:50]}-3.mp4"
    assert [place.rsplit("/", 1)[-1] for place in videos.strangers] == ["a cat.mp4"]
    twins = [prompt("x", f"{LONG}, slowly"), prompt("y", f"{LONG}, fast")]
    (tmp_path / "system/x.mp4").write_bytes(b"x")
    found = find_videos(SystemSettings(name="s", videos=str(folder)), twins, workspace).found
    assert (found["x"].uri.rsplit("/", 1)[-1], found["y"].reason) == ("x.mp4", "missing")


def test_of_several_videos_of_a_prompt_none_is_picked_unless_a_number_counts_for_all(tmp_path, workspace):
    folder = folder_of(tmp_path, "cat-0.mp4", "cat-1.mp4", "boat-1.mp4", "boat-2.mp4", "0007-0.mp4")
    videos, names = found_in(folder, workspace)
    assert names == {"cat": "several videos", "boat": "several videos", "0007": "0007-0.mp4"}
    assert videos.found["cat"].detail.startswith("2 videos, and one is judged: cat-0.mp4, cat-1.mp4; name the sample")
    videos, names = found_in(folder, workspace, seed=1)
    assert names == {"cat": "cat-1.mp4", "boat": "boat-1.mp4", "0007": "missing"}
    assert videos.found["0007"].detail == "1 videos, none of them is number 1: 0007-0.mp4"


def test_a_manifest_names_files_beside_it_and_addresses_anywhere(tmp_path, workspace):
    rows = [
        {"prompt_id": "cat", "video": "cats/1.mp4"},
        {"prompt": BOAT.lower(), "video": "s3://bucket/boat.mp4"},
        {"prompt_id": "dog", "video": "/videos/dog.mp4"},
    ]
    manifest = tmp_path / "made.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    videos, _ = found_in(manifest, workspace)
    uris = {key: found.uri for key, found in videos.found.items()}
    assert uris == {"cat": f"{tmp_path}/cats/1.mp4", "boat": "s3://bucket/boat.mp4", "0007": ""}
    assert videos.strangers == ("/videos/dog.mp4",)
    manifest.write_text('{"video": "a.mp4"}')
    with pytest.raises(UserError, match=r"made\.jsonl:1: a manifest's row needs `video`, and `prompt_id` or `prompt`"):
        found_in(manifest, workspace)


def test_samples_of_a_run_or_of_one_of_its_stages_are_found_by_their_prompt(workspace):
    rows = [
        Sample("a", "samples/a.mp4", CAT, 0, "{}", "run1/first"),
        Sample("b", "samples/b.mp4", CAT, 0, "{}", "run1/second"),
        Sample("c", "samples/c.mp4", CAT, 1, "{}", "run1/second"),
        Sample("d", "samples/d.mp4", BOAT, 0, "{}", "run10/first"),
    ]
    workspace.table("samples").append("x", rows)
    assert found_in("samples", workspace, run="run1/first")[0].found["cat"].uri == f"{workspace.uri}/samples/a.mp4"
    assert found_in("samples", workspace, run="run1/second", seed=1)[1]["cat"] == "c.mp4"
    assert found_in("samples", workspace, run="run1", seed=0)[1] == {
        "cat": "several videos",
        "boat": "missing",
        "0007": "missing",
    }
    with pytest.raises(UserError, match="no sample of run 'other'; there are samples of: run1/first, run1/second"):
        found_in("samples", workspace, run="other")


def test_a_place_without_videos_of_these_prompts_is_refused(tmp_path, workspace):
    with pytest.raises(UserError, match=r"none of the 1 videos of .* fits a prompt, such as .*dog\.mp4; name files by"):
        found_in(folder_of(tmp_path, "dog.mp4"), workspace)
    with pytest.raises(UserError, match="is neither a folder nor a manifest"):
        found_in(tmp_path / "nowhere", workspace)
