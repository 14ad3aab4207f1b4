"""Tables of records in a workspace: Parquet part files, written aside and renamed, never edited.

    <workspace>/<table>/<stem>.parquet        a part; it exists whole or not at all
    <workspace>/<table>/_aside/<stem>.parquet a part being written; swept when the next run starts

A workspace is a folder or an object-store prefix (`s3://bucket/prefix`): everything goes through `pyarrow.fs`.
Every table has one writer. Where a job writes several tables, parts that belong together share their stem and the
completion table's part is renamed last, so a part without its completion twin is known to be unfinished (`sweep`).
Readers drop repeated keys, so the same content written twice (one video under two names) is read once.
"""

import dataclasses
import types
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from curation.filesystem import located
from curation.records import (
    Annotation,
    Caption,
    Clip,
    Crop,
    Embedding,
    Failure,
    GroupMember,
    Score,
    Shard,
    ShardMember,
    Source,
    UserError,
    Verdict,
    Video,
)
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo

ASIDE = "_aside"
PARTS_AHEAD = 4


@dataclass(frozen=True)
class TableSpec:
    """A table's record type and the columns that make a row unique."""

    record: type
    key: tuple[str, ...]


@dataclass(frozen=True)
class PushedTask:
    """A clip that lies in Label Studio as a task, why it was sent, and who is to answer how often."""

    clip_id: str
    project: str
    draft_version: str
    reason: str
    stratum: str = ""  # concept and score quantile it stands for
    priority: int = 0  # its place in the plan that sent it, 0 first
    answers_wanted: int = 1
    annotators: str = ""  # e-mail addresses, comma separated; empty: anybody


@dataclass(frozen=True)
class Withdrawal:
    """That a collected answer is no longer on the server (or is there again); the newest row about it holds."""

    annotation_key: str
    seen_at: str  # ISO 8601
    gone: bool


@dataclass(frozen=True)
class HumanVerdict:
    """What people decided about a clip, resolved from their annotations by a pure function."""

    clip_id: str
    decision: str
    reason: str
    num_answers: int
    simulated: bool
    by: str  # the annotators, comma separated
    rule: str
    ratings: str = "{}"  # JSON object: criterion -> median rating
    best_start_s: float | None = None  # the best part in seconds from the clip's start, None where nobody marked one
    best_end_s: float | None = None  # None with a start: to the end of the clip


@dataclass(frozen=True)
class PackFate:
    """What one run of `pack` made of one clip for one stage: members, or the one reason why there are none."""

    clip_id: str
    stage: str
    plan: str  # digest of all fates of that run and stage
    fate: str  # a value of jobs.pack_fates.Fate
    reason: str  # empty where it was used
    by: str  # who kept or dropped it: "gates", or people
    bucket: str  # of its members, comma separated; empty where there are none
    num_members: int
    cropped: float | None  # share of the picture that the bucket's shape cut off
    trimmed_s: float | None  # seconds of the clip that are in no member; None for images


@dataclass(frozen=True)
class TrainRead:
    """That a training stage read a clip, how often and between which steps."""

    run_id: str
    stage: str
    clip_id: str
    times: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Sample:
    """A generated video and everything needed to make it again."""

    sample_id: str
    uri: str
    prompt: str
    seed: int
    settings: str
    checkpoint: str
    rewritten: str = ""  # what the network read instead of `prompt`
    image: str = ""  # the picture that became its first frame


@dataclass(frozen=True)
class Measurement:
    """One automatic measure of one subject, with the protocol that makes two of them comparable."""

    subject: str  # what was measured: a video's id, or "<system>", "<run>/<stage>@<step>"
    subject_kind: str  # "video", "system", "checkpoint" or "vae"
    measure: str  # "psnr_db", "dynamic_degree", "flow_loss@0.3", ...
    version: str  # of the measure: code and weights
    protocol: str  # JSON object: set, frames, size, colour range, ...
    value: float | None  # None where it is not defined for this subject; `note` says why
    number: int = 1  # videos or clips that the value is a mean over
    note: str = ""


TABLES: dict[str, TableSpec] = {
    "sources": TableSpec(Source, ("input_id", "splitter")),
    "videos": TableSpec(Video, ("video_id",)),
    "clips": TableSpec(Clip, ("clip_id",)),
    "crops": TableSpec(Crop, ("clip_id", "version")),
    "scores": TableSpec(Score, ("clip_id", "scorer", "version")),
    "embeddings": TableSpec(Embedding, ("clip_id", "embedder", "version")),
    "groups": TableSpec(GroupMember, ("clip_id", "grouping")),
    "gate_verdicts": TableSpec(Verdict, ("clip_id", "stage", "rules_digest")),
    "tasks": TableSpec(PushedTask, ("clip_id", "project")),
    "annotations": TableSpec(Annotation, ("annotation_key",)),
    "withdrawals": TableSpec(Withdrawal, ("annotation_key", "seen_at")),
    "human_verdicts": TableSpec(HumanVerdict, ("clip_id", "rule")),
    "captions": TableSpec(Caption, ("clip_id", "by", "version")),
    "shards": TableSpec(Shard, ("shard_id",)),
    "shard_members": TableSpec(ShardMember, ("clip_id", "stage", "shard_id")),
    "pack_fates": TableSpec(PackFate, ("clip_id", "stage", "plan")),
    "train_reads": TableSpec(TrainRead, ("run_id", "stage", "clip_id")),
    "samples": TableSpec(Sample, ("sample_id",)),
    "study_prompts": TableSpec(StudyPrompt, ("study", "prompt_id")),
    "study_videos": TableSpec(StudyVideo, ("study", "media_key")),
    "study_items": TableSpec(StudyItem, ("study", "item_key")),
    "study_answers": TableSpec(StudyAnswer, ("study", "answer_key")),
    "measurements": TableSpec(Measurement, ("subject", "measure", "version", "protocol")),
    "failures": TableSpec(Failure, ("job", "job_digest", "input_id")),
}

_ARROW_TYPES: dict[Any, pa.DataType] = {
    tuple[float, ...]: pa.list_(pa.float32()),
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def schema_of(record: type) -> pa.Schema:
    """Arrow schema of a record class: one column per field, nullable where the field admits None."""
    hints = typing.get_type_hints(record)
    columns = []
    for column in dataclasses.fields(record):
        hint, nullable = hints[column.name], False
        if isinstance(hint, types.UnionType):
            (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
            nullable = True
        if hint not in _ARROW_TYPES and issubclass(hint, StrEnum):
            hint = str
        columns.append(pa.field(column.name, _ARROW_TYPES[hint], nullable))
    return pa.schema(columns)


class Workspace:
    """A folder or object-store prefix that holds everything one project of footage became.

    Args:
        uri: a local path, or a URI that `pyarrow.fs` understands (`s3://bucket/prefix`).
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).resolve())
        if "://" in uri:
            self.fs, root = located(uri)
            self.root = root.rstrip("/")
        else:
            self.fs, self.root = pafs.LocalFileSystem(), self.uri

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)

    def path(self, *parts: str) -> str:
        """Path of something in the workspace, as `self.fs` wants it."""
        return "/".join((self.root, *parts))

    def local_path(self, *parts: str) -> Path:
        """Path of something in a local workspace.

        Raises:
            ValueError: the workspace is not a local folder.
        """
        if not self.is_local:
            raise ValueError(f"workspace {self.uri} is not a local folder; this step needs one")
        return Path(self.path(*parts))

    def uri_of(self, path: str) -> str:
        """Address of something in the workspace for those who open files by one, as the decoder does."""
        place, mark, options = self.uri.partition("?")
        return f"{place.rstrip('/')}/{path}{mark}{options}"

    def exists(self, *parts: str) -> bool:
        return self.fs.get_file_info(self.path(*parts)).type != pafs.FileType.NotFound

    def file_names(self, *parts: str) -> set[str]:
        """Names of the files directly in a folder; empty if there is no such folder."""
        infos = self.fs.get_file_info(pafs.FileSelector(self.path(*parts), allow_not_found=True))
        return {info.base_name for info in infos if info.type == pafs.FileType.File}

    def read_bytes(self, *parts: str) -> bytes:
        with self.fs.open_input_stream(self.path(*parts)) as stream:
            return stream.read()

    def write_bytes(self, data: bytes, *parts: str) -> None:
        """Write a file so that it exists whole or not at all."""
        target = self.path(*parts)
        folder = target.rsplit("/", 1)[0]
        self.fs.create_dir(folder, recursive=True)
        aside = f"{folder}/.aside-{target.rsplit('/', 1)[1]}" if self.is_local else target
        with self.fs.open_output_stream(aside) as stream:
            stream.write(data)
        if aside != target:
            self.fs.move(aside, target)

    def table(self, name: str) -> "Table":
        return Table(self, name)


class Table:
    """One table of a workspace. See `TABLES` for the names; anything else is a KeyError that lists them."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        if name not in TABLES:
            raise KeyError(f"no table {name!r}; the tables are {', '.join(sorted(TABLES))}")
        self.workspace, self.name = workspace, name
        self.spec = TABLES[name]
        self.schema = schema_of(self.spec.record)

    def stems(self) -> set[str]:
        """Names of the parts that are there, without `.parquet`."""
        names = self.workspace.file_names(self.name)
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, repeated keys dropped (the first in part order stays), ordered by key."""
        wanted = list(self.schema.names if columns is None else columns)
        needed = list(dict.fromkeys([*wanted, *self.spec.key]))
        parts = [self._read_part(stem, needed) for stem in sorted(self.stems())]
        schema = pa.schema([self.schema.field(name) for name in needed])
        rows = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in parts)])
        return _drop_repeats(rows, self.spec.key).select(wanted)

    def part(self, stem: str) -> pa.Table:
        """The rows of one part, repeated keys and all."""
        return self._read_part(stem, self.schema.names).cast(self.schema)

    def _read_part(self, stem: str, columns: list[str]) -> pa.Table:
        with self.workspace.fs.open_input_file(self.workspace.path(self.name, f"{stem}.parquet")) as file:
            part = pq.ParquetFile(file).read([*columns])
        return self._completed(stem, part, columns)

    def _completed(self, stem: str, part: pa.Table, columns: Sequence[str], encoded: Sequence[str] = ()) -> pa.Table:
        """A part written before the record got a field has that field's default there."""
        if missing := [name for name in columns if name not in part.column_names]:
            defaults = {field.name: field.default for field in dataclasses.fields(self.spec.record)}
            if unknown := [name for name in missing if defaults[name] is dataclasses.MISSING]:
                raise UserError(
                    f"{self.workspace.path(self.name, stem)}.parquet has no column {', '.join(unknown)}: an older "
                    f"Dailies wrote it; remove that file and run again what fills the table {self.name}"
                )
            for name in missing:
                default = pa.repeat(pa.scalar(defaults[name], self.schema.field(name).type), part.num_rows)
                part = part.append_column(name, default.dictionary_encode() if name in encoded else default)
        return part.select(columns)

    def parts(
        self, columns: Sequence[str], encoded: Sequence[str] = (), only: Mapping[str, str] | None = None
    ) -> Iterator[pa.Table]:
        """The parts one after the other, in part order, repeated keys and all: what fits no memory at once.

        A few parts are read ahead, which hides half of the time on two cores and most of it on an object store.

        Args:
            encoded: columns of text that repeats, given as dictionary arrays; one part's dictionary is not another's.
            only: column of text -> the text that the rows must have there; costs nothing where a part has one text.
        """
        wanted = dict(only or {})
        names, texts = list(dict.fromkeys([*columns, *wanted])), list(dict.fromkeys([*encoded, *wanted]))

        def read(stem: str) -> pa.Table:
            with self.workspace.fs.open_input_file(self.workspace.path(self.name, f"{stem}.parquet")) as file:
                footer = pq.read_metadata(file)
                known = [name for name in texts if name in footer.schema.names]
                part = pq.ParquetFile(file, metadata=footer, read_dictionary=known).read(names, use_threads=False)
            part = self._completed(stem, part, names, texts)
            return having_texts(part, wanted).select(columns)

        with ThreadPoolExecutor(PARTS_AHEAD) as threads:
            coming: deque[Future[pa.Table]] = deque()
            for stem in sorted(self.stems()):
                coming.append(threads.submit(read, stem))
                if len(coming) > PARTS_AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def records(self) -> list[Any]:
        """All rows as records."""
        return [self.spec.record(**row) for row in self.read().to_pylist()]

    def having(self, column: str, values: Sequence[str] | pa.Array) -> list[Any]:
        """The records whose `column` is one of the values; cheap for a few of many rows."""
        wanted = pc.field(column).isin(pa.array(values, pa.string()))
        parts = [part.cast(self.schema).filter(wanted) for part in self.parts(self.schema.names)]
        rows = _drop_repeats(pa.concat_tables([self.schema.empty_table(), *parts]), self.spec.key)
        return [self.spec.record(**row) for row in rows.to_pylist()]

    def distinct(self, *columns: str) -> set[tuple[Any, ...]]:
        """Distinct values of the given columns (the key by default)."""
        names = columns or self.spec.key
        rows = self.read(names)
        return set(zip(*(rows.column(name).to_pylist() for name in names), strict=True))

    def rows_of(self, records: Iterable[Any]) -> pa.Table:
        """Records as an Arrow table of this schema; a field of the wrong type is an ArrowInvalid or ArrowTypeError."""
        return pa.Table.from_pylist([dataclasses.asdict(record) for record in records], schema=self.schema)

    def append(self, stem: str, records: Iterable[Any]) -> int:
        """Write one part under `stem`, replacing a part of that stem; no rows, no part. Returns the number of rows."""
        return self.append_rows(stem, self.rows_of(records))

    def append_rows(self, stem: str, rows: pa.Table) -> int:
        """`append` of rows that never were records; dictionary columns may stand for text."""
        rows = rows.select(self.schema.names).cast(self.schema)
        if not rows.num_rows and self.workspace.exists(self.name, f"{stem}.parquet"):
            self.remove(stem)
        if rows.num_rows:
            sink = pa.BufferOutputStream()
            # Numbers hardly repeat, so a dictionary only costs: vectors split by byte take 3 / 5 of the room and less
            # than half of the time to read.
            vectors = [f"{column.name}.list.element" for column in self.schema if pa.types.is_list(column.type)]
            texts = [column.name for column in self.schema if pa.types.is_string(column.type)]
            encodings: Any = {"use_dictionary": texts, "use_byte_stream_split": vectors}
            pq.write_table(rows, sink, compression="zstd", **encodings)
            self._rename_into_place(stem, sink.getvalue())
        return rows.num_rows

    def _rename_into_place(self, stem: str, data: pa.Buffer) -> None:
        workspace, target = self.workspace, self.workspace.path(self.name, f"{stem}.parquet")
        if not workspace.is_local:  # an object appears when its upload completes, so it needs no rename
            with workspace.fs.open_output_stream(target) as stream:
                stream.write(data)
            return
        aside = workspace.path(self.name, ASIDE, f"{stem}.parquet")
        workspace.fs.create_dir(workspace.path(self.name, ASIDE), recursive=True)
        with workspace.fs.open_output_stream(aside) as stream:
            stream.write(data)
        workspace.fs.move(aside, target)

    def remove(self, stem: str) -> None:
        self.workspace.fs.delete_file(self.workspace.path(self.name, f"{stem}.parquet"))


def sweep(completion: Table, dependents: Iterable[Table]) -> list[str]:
    """Remove what an interrupted writer left: parts aside, and dependents' parts without their completion twin.

    Only for tables with a single writer, before that writer starts. Returns the removed stems.
    """
    finished = completion.stems()
    removed = []
    for table in (completion, *dependents):
        aside = table.workspace.path(table.name, ASIDE)
        if table.workspace.fs.get_file_info(aside).type == pafs.FileType.Directory:
            table.workspace.fs.delete_dir(aside)
        for stem in sorted(table.stems() - finished) if table.name != completion.name else ():
            table.remove(stem)
            removed.append(f"{table.name}/{stem}")
    return removed


def having_texts(part: pa.Table, wanted: Mapping[str, str]) -> pa.Table:
    """Rows with these texts in dictionary columns. A filter by expression would start an engine for every part."""
    for name, text in wanted.items():
        column = part.column(name).combine_chunks()
        known = column.dictionary.to_pylist()
        if known == [text] and not column.null_count:
            continue
        number = known.index(text) if text in known else -1
        part = part.filter(pc.call_function("equal", [column.indices, pa.scalar(number, column.indices.type)]))
    return part


def _drop_repeats(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    if rows.num_rows == 0:
        return rows
    numbered = rows.append_column("_row", pa.array(np.arange(rows.num_rows)))
    firsts = numbered.group_by(list(key)).aggregate([("_row", "min")])
    order = firsts.sort_by([(name, "ascending") for name in key]).column("_row_min")
    return rows.take(order)
