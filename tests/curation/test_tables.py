"""Tables: a part exists whole or not at all, repeated keys are read once, object stores behave like folders."""

from functools import partial

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from curation.catalogue import read_catalogue
from curation.records import Decision, Score, UserError, Verdict
from curation.tables import TABLES, Sample, Workspace, schema_of, sweep

SCORES = [Score("c1", "motion", "1", 2.5, None), Score("c2", "motion", "1", None, "no frames")]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def workspace(request, tmp_path, monkeypatch):
    if request.param == "folder":
        yield Workspace(str(tmp_path / "ws"))
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for key, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="footage")
    yield Workspace(f"s3://footage/{tmp_path.name}?endpoint_override={endpoint.removeprefix('http://')}&scheme=http")
    server.stop()


def test_rows_come_back_as_the_records_they_were(workspace):
    table = workspace.table("scores")
    assert table.records() == []
    assert table.append("part", SCORES) == 2
    assert table.records() == SCORES


def test_a_part_written_again_replaces_itself(workspace):
    table = workspace.table("scores")
    table.append("part", SCORES)
    table.append("part", SCORES[:1])
    assert table.records() == SCORES[:1]
    table.append("part", [])
    assert table.stems() == set()


def test_a_key_in_two_parts_is_read_once_and_rows_are_ordered_by_key(workspace):
    table = workspace.table("scores")
    table.append("b", [Score("c0", "motion", "1", 9.0, None), *SCORES])
    table.append("a", SCORES)
    assert [row.clip_id for row in table.records()] == ["c0", "c1", "c2"]
    assert table.distinct("scorer") == {("motion",)}


def test_arrow_rows_with_dictionaries_become_the_same_records(workspace):
    table = workspace.table("gate_verdicts")
    ids, same = pa.array(["c1", "c2"]), pa.array([0, 0], pa.int8())
    columns = {"rules_digest": "d", "stage": "video", "decision": "keep", "reason": "passed", "by": "gates"}
    rows = pa.table({name: pa.DictionaryArray.from_arrays(same, pa.array([text])) for name, text in columns.items()})
    assert table.append_rows("part", rows.append_column("clip_id", ids)) == 2
    assert table.records() == [Verdict(clip_id, "video", "keep", "passed", "gates", "d") for clip_id in ("c1", "c2")]  # type: ignore[arg-type]
    table.append_rows("part", table.read().slice(0, 0))
    assert table.stems() == set()


def test_parts_come_one_by_one_in_part_order_with_their_repeats(workspace):
    table = workspace.table("scores")
    table.append("b", SCORES[:1])
    table.append("a", SCORES)
    first, second = table.parts(["clip_id", "value"], encoded=["clip_id"])
    assert first.column("clip_id").type == pa.dictionary(pa.int32(), pa.string())
    assert [part.column("clip_id").to_pylist() for part in (first, second)] == [["c1", "c2"], ["c1"]]
    assert first.column_names == ["clip_id", "value"]


def test_parts_can_be_asked_for_the_rows_of_one_text(workspace):
    table = workspace.table("scores")
    table.append("a", SCORES)
    table.append("b", [Score("c3", "motion", "2", 1.0, None), Score("c3", "blur", "1", 1.0, None)])
    table.append("c", [Score("c4", "blur", "1", 1.0, None)])

    def found(**only: str) -> list[list[str]]:
        return [part.column("clip_id").to_pylist() for part in table.parts(["clip_id"], only=only)]

    assert found(scorer="motion") == [["c1", "c2"], ["c3"], []]
    assert found(scorer="motion", version="2") == [[], ["c3"], []]
    assert found(scorer="nothing") == [[], [], []]
    assert [part.column_names for part in table.parts(["scorer"], only={"scorer": "blur"})] == [["scorer"]] * 3


def test_rows_of_one_text_are_found_in_every_row_group(tmp_path, monkeypatch):
    table = Workspace(str(tmp_path)).table("scores")
    monkeypatch.setattr("pyarrow.parquet.write_table", partial(pq.write_table, row_group_size=2))
    table.append("a", [Score(f"c{index}", f"s{index % 3}", "1", 1.0, None) for index in range(9)])
    (part,) = table.parts(["clip_id"], only={"scorer": "s2"})
    assert part.column("clip_id").to_pylist() == ["c2", "c5", "c8"]


def test_a_part_from_before_a_field_was_there_has_its_default(tmp_path):
    table = Workspace(str(tmp_path)).table("scores")
    table.append("new", SCORES[:1])
    old = table.read().drop_columns(["label"]).set_column(0, "clip_id", pa.array(["c0"]))
    pq.write_table(old, tmp_path / "scores" / "old.parquet")
    assert [(row.clip_id, row.label) for row in table.records()] == [("c0", ""), ("c1", "")]
    assert [part.column("label").to_pylist() for part in table.parts(["label"])] == [[""], [""]]
    for label, rows in (("", [["c1"], ["c0"]]), ("pan left", [[], []])):
        found = table.parts(["clip_id"], only={"label": label})
        assert [part.column("clip_id").to_pylist() for part in found] == rows
    kinds = [part.column("label").type for part in table.parts(["label"], encoded=["label"])]
    assert kinds == [pa.dictionary(pa.int32(), pa.string())] * 2
    assert len(read_catalogue(table.workspace, "none", {"motion": "1"}, "1")) == 0, "which reads labels as numbers"


def test_a_part_without_a_column_that_has_no_default_is_named(tmp_path):
    table = Workspace(str(tmp_path)).table("scores")
    table.append("new", SCORES[:1])
    pq.write_table(table.read().drop_columns(["version"]), tmp_path / "scores" / "old.parquet")
    message = (
        r"scores/old\.parquet has no column version: .*; remove that file and run again what fills the table scores"
    )
    with pytest.raises(UserError, match=message):
        table.read()
    with pytest.raises(UserError, match=message):
        list(table.parts(["clip_id"], only={"version": "1"}))


def test_the_records_of_a_few_keys_come_once(workspace):
    table = workspace.table("scores")
    table.append("b", SCORES)
    table.append("a", [*SCORES, Score("c3", "motion", "1", 1.0, None)])
    assert table.having("clip_id", ["c3", "c1", "nowhere"]) == [SCORES[0], Score("c3", "motion", "1", 1.0, None)]
    assert table.having("clip_id", []) == workspace.table("clips").having("clip_id", ["c1"]) == []


def test_the_sweep_removes_parts_without_their_completion_twin(workspace):
    clips, sources = workspace.table("scores"), workspace.table("samples")
    clips.append("finished", SCORES)
    clips.append("torn", SCORES)
    sources.append("finished", [Sample("s", "u", "p", 0, "{}", "c")])
    assert sweep(sources, [clips]) == ["scores/torn"]
    assert (clips.stems(), sources.stems()) == ({"finished"}, {"finished"})


def test_files_are_whole_or_absent(workspace):
    workspace.write_bytes(b"one", "media", "a.bin")
    workspace.write_bytes(b"two", "media", "a.bin")
    assert workspace.read_bytes("media", "a.bin") == b"two"
    assert workspace.file_names("media") == {"a.bin"}
    assert (workspace.exists("media", "a.bin"), workspace.exists("media", "b.bin")) == (True, False)
    assert workspace.file_names("nowhere") == set()


def test_a_record_that_does_not_fit_its_table_is_refused(tmp_path):
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        Workspace(str(tmp_path)).table("scores").append("part", [Score("c1", "motion", "1", "loud", None)])  # type: ignore[arg-type]


def test_an_unknown_table_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(KeyError, match="no table 'clip'; the tables are annotations, captions, clips"):
        Workspace(str(tmp_path)).table("clip")


def test_a_score_is_a_value_or_an_error_never_both():
    for value, error in ((None, None), (1.0, "broken")):
        with pytest.raises(ValueError, match="a score is a value or an error"):
            Score("c1", "motion", "1", value, error)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_has_a_schema_and_a_key_among_its_columns(name):
    spec = TABLES[name]
    assert set(spec.key) <= set(schema_of(spec.record).names)


def test_decisions_are_stored_as_their_words(tmp_path):
    table = Workspace(str(tmp_path)).table("gate_verdicts")
    table.append("part", [Verdict("c1", "video", Decision.KEEP, "passed", "gates", "d")])
    (verdict,) = table.records()
    assert verdict.decision == "keep"


def test_the_address_of_a_file_keeps_the_options_of_its_store(tmp_path):
    assert Workspace(str(tmp_path)).uri_of("samples/a.mp4") == f"{tmp_path}/samples/a.mp4"
    store = "s3://bucket/ws?endpoint_override=127.0.0.1:9000&scheme=http"
    assert Workspace(store).uri_of("samples/a.mp4") == store.replace("/ws?", "/ws/samples/a.mp4?")
