"""What is known of all clips, as columns: one array per scorer and per fact, one place per clip, no object per clip.

    clips, crops --> facts --------------------------+
                                                      +--> Catalogue: clip_ids [N], a Column of N values per name
    scores, part by part, of the current versions ---+

The long `scores` table (a row per clip and scorer) becomes columns without ever lying in memory whole: parts are read
one after the other with their texts as dictionaries, so only each part's distinct clip ids are looked up, by binary
search, since hashing all N ids once per part would grow with the square. Where a key repeats, its first row in part
order counts, as in `Table.read`. Memory: 11 bytes per clip and score.

Legend: N clips, in the order of their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.records import Clip, Crop, Score
from curation.tables import Workspace

FACTS = ("duration_s", "short_side_px", "frame_rate", "num_frames", "aspect", "picture_share")
CROPPED_FACTS = frozenset({"short_side_px", "aspect", "picture_share"})  # those that the crop changes
CLIP_COLUMNS = (
    "clip_id", "start_pts", "end_pts", "time_base_num", "time_base_den", "num_frames", "width", "height", "frame_rate",
)  # fmt: skip
LONGEST_RUN = 4  # of ids with one beginning, above which whole ids are searched
FEW = 20  # a look-up of less than one in so many ids is a binary search, since hashing all N takes 0.1 us each


class State(IntEnum):
    """What became of a score."""

    MISSING = 0
    SCORED = 1
    FAILED = 2


@dataclass(frozen=True)
class Column:
    """One scorer's answers, or one fact, over all clips."""

    values: np.ndarray  # float64 [N], NaN where there is no value
    states: np.ndarray  # uint8 [N], a State
    labels: np.ndarray | None = None  # int16 [N], index into `classes`, -1 for none; None: the scorer names no classes
    classes: tuple[str, ...] = ()

    @classmethod
    def of_values(cls, values: np.ndarray) -> "Column":
        return cls(values, np.full(len(values), State.SCORED, np.uint8))

    @classmethod
    def of_score(cls, score: Score | None) -> "Column":
        """One clip's answer as a column of length 1."""
        value = np.nan if score is None or score.value is None else score.value
        state = State.MISSING if score is None else State.FAILED if score.value is None else State.SCORED
        labels, classes = (np.zeros(1, np.int16), (score.label,)) if score and score.label else (None, ())
        return cls(np.array([value]), np.array([state], np.uint8), labels, classes)


@dataclass(frozen=True)
class Catalogue:
    """All current clips and what is known of them."""

    clip_ids: pa.Array  # string [N], rising
    columns: Mapping[str, Column]  # scorer or fact -> its column
    crop: str = ""  # version of the crop that the facts are of

    def __len__(self) -> int:
        return len(self.clip_ids)

    def places(self, clip_ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Where these clips are, int64 in their order; those that are not in the catalogue are left out."""
        places = self.find(clip_ids)
        return places[places >= 0]

    def find(self, clip_ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Where each of these clips is, int64, -1 for those that are not in the catalogue. Cheap for a few, too."""
        given = clip_ids if isinstance(clip_ids, pa.Array | pa.ChunkedArray) else pa.array(clip_ids, pa.string())
        if FEW * len(given) >= len(self):
            return _places(given, self.clip_ids)
        wanted, last = _as_bytes(given), len(self) - 1
        known, beginnings, longest_run = self._sorted
        if longest_run > LONGEST_RUN:
            places = np.searchsorted(known, wanted)
        else:
            places = np.searchsorted(beginnings, _beginnings(wanted))
            for _ in range(longest_run - 1):
                places += known[np.minimum(places, last)] < wanted
        places = np.minimum(places, last)
        return np.where(known[places] == wanted, places, -1)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, int]:
        """All ids as bytes, their beginnings, how many share one at most: two or three of a million digests."""
        known = _as_bytes(self.clip_ids)
        beginnings = _beginnings(known)
        starts = np.flatnonzero(np.diff(beginnings, prepend=beginnings[:1] + 1, append=beginnings[-1:] + 1))
        return known, beginnings, int(np.diff(starts).max())


def facts_of(clip: Clip, crop: Crop | None = None) -> dict[str, float]:
    """The facts of one clip, by name."""
    arrays = {name: np.array([getattr(clip, name)]) for name in CLIP_COLUMNS[1:]}
    sides = (np.array([crop.width]), np.array([crop.height])) if crop else (arrays["width"], arrays["height"])
    return {name: float(values[0]) for name, values in _facts(arrays, *sides).items()}


def read_catalogue(workspace: Workspace, splitter: str, versions: Mapping[str, str], crop: str) -> Catalogue:
    """The clips of a splitter with the scores of these scorer versions, as this version of the crop leaves them.

    Args:
        versions: scorer -> version; each gets a column, all missing if nothing was scored.
    """
    clips = _read_clips(workspace, splitter)
    clip_ids = clips.column("clip_id").combine_chunks()
    arrays = {name: clips.column(name).to_numpy() for name in CLIP_COLUMNS[1:]}
    sides = _cropped_sides(workspace, crop, clip_ids, arrays["width"], arrays["height"])
    columns = {name: Column.of_values(values) for name, values in _facts(arrays, *sides).items()}
    return Catalogue(clip_ids, {**columns, **_read_scores(workspace, clip_ids, versions)}, crop)


def _facts(arrays: Mapping[str, np.ndarray], width: np.ndarray, height: np.ndarray) -> dict[str, np.ndarray]:
    """Facts as float64 [N]; `width` and `height` are those of what the crop left, the arrays' own are the picture's."""
    ticks = (arrays["end_pts"] - arrays["start_pts"]) * arrays["time_base_num"]
    return {
        "duration_s": ticks / arrays["time_base_den"],
        "short_side_px": np.minimum(width, height).astype(np.float64),
        "frame_rate": arrays["frame_rate"].astype(np.float64),
        "num_frames": arrays["num_frames"].astype(np.float64),
        "aspect": width / height,
        "picture_share": (width * height) / (arrays["width"] * arrays["height"]),
    }


def _read_clips(workspace: Workspace, splitter: str) -> pa.Table:
    table = workspace.table("clips")
    schema = pa.schema([table.schema.field(name) for name in CLIP_COLUMNS])
    parts = table.parts(CLIP_COLUMNS, only={"splitter": splitter})
    rows = pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()
    rows = rows.sort_by("clip_id")  # stable: of equal ids the first stays first
    if rows.num_rows < 2:
        return rows
    ids = rows.column("clip_id").combine_chunks()
    first = pc.call_function("not_equal", [ids.slice(1), ids.slice(0, len(ids) - 1)])
    return rows.filter(pa.concat_arrays([pa.array([True]), first]))


def _cropped_sides(
    workspace: Workspace, version: str, clip_ids: pa.Array, width: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of what each clip's crop of this version leaves, int64 [N]."""
    table = workspace.table("crops")
    schema = pa.schema([table.schema.field(name) for name in ("clip_id", "width", "height")])
    rows = pa.concat_tables([schema.empty_table(), *table.parts(schema.names, only={"version": version})])
    width, height = width.copy(), height.copy()
    chosen, places = _new_places(_places(rows.column("clip_id"), clip_ids), np.zeros(len(width), bool))
    width[places] = rows.column("width").to_numpy()[chosen]
    height[places] = rows.column("height").to_numpy()[chosen]
    return width, height


def _as_bytes(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Ids as numpy's bytes, which sort as Arrow's text does."""
    joined = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    width = pc.call_function("max", [pc.call_function("binary_length", [joined])]).as_py() or 1
    padded = pc.call_function("ascii_rpad", [joined], pc.PadOptions(width, chr(0)))
    return np.frombuffer(padded.buffers()[2] or b"", f"S{width}", len(joined), padded.offset * width)


def _beginnings(ids: np.ndarray) -> np.ndarray:
    """The first 8 bytes of each id as a number, which sorts as they do and is ten times as quick to search."""
    return ids.astype("S8").view(">u8").astype(np.uint64)


def _places(ids: pa.Array | pa.ChunkedArray, clip_ids: pa.Array) -> np.ndarray:
    """Where in `clip_ids` each id is, -1 for those that are not there."""
    return pc.call_function("index_in", [ids], pc.SetLookupOptions(value_set=clip_ids)).fill_null(-1).to_numpy()


def _new_places(places: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows to write and where, last row first: numpy keeps the last of repeated writes, so the first row stands.

    Args:
        places: where each row belongs, -1 for nowhere.
        known: other than 0 where something stands already.
    """
    rows = np.flatnonzero(places >= 0)[::-1]
    rows = rows[known[places[rows]] == 0]
    return rows, places[rows]


def _read_scores(workspace: Workspace, clip_ids: pa.Array, versions: Mapping[str, str]) -> dict[str, Column]:
    num_clips, shape = len(clip_ids), (len(versions), len(clip_ids))
    values, states, labels = np.full(shape, np.nan), np.zeros(shape, np.uint8), np.zeros(shape, np.int16)
    encoded, texts, within = ("clip_id", "scorer", "version", "label"), {"": 0}, Catalogue(clip_ids, {})
    for part in workspace.table("scores").parts([*encoded, "value"], encoded):
        for batch in part.to_batches():
            of_clip, label = batch.column("clip_id"), batch.column("label")
            scorer = _current(batch.column("scorer"), batch.column("version"), versions)
            place = within.find(of_clip.dictionary)[of_clip.indices.to_numpy()]
            place = np.where((scorer >= 0) & (place >= 0), scorer.astype(np.int64) * num_clips + place, -1)
            rows, at = _new_places(place, states.ravel())
            value = batch.column("value").to_numpy(zero_copy_only=False)[rows]
            numbers = [texts.setdefault(text, len(texts)) for text in label.dictionary.to_pylist()]
            values.ravel()[at] = value
            states.ravel()[at] = np.where(np.isnan(value), State.FAILED, State.SCORED)
            labels.ravel()[at] = np.array(numbers, np.int16)[label.indices.to_numpy()[rows]]
    columns = zip(versions, map(Column, values, states, labels), strict=True)
    return {name: _with_own_classes(column, list(texts)) for name, column in columns}


def _current(scorers: pa.DictionaryArray, versions: pa.DictionaryArray, wanted: Mapping[str, str]) -> np.ndarray:
    """The number of each row's scorer among the wanted ones, -1 for other scorers and other versions. int8."""
    order, found = list(wanted), versions.dictionary.to_pylist()
    number = [order.index(name) if name in wanted else -1 for name in scorers.dictionary.to_pylist()]
    version = [found.index(text) if (text := wanted.get(name)) in found else -2 for name in order]
    numbers = np.array([*number, -1], np.int8)[scorers.indices.to_numpy()]
    expected = np.array([*version, -2])[numbers]  # -1 picks the last, which no version has
    return np.where(versions.indices.to_numpy() == expected, numbers, np.int8(-1))


def _with_own_classes(column: Column, texts: list[str]) -> Column:
    """The column with labels counted in its own classes, in order of the alphabet; without labels if it has none."""
    assert column.labels is not None
    used = sorted((number for number in np.unique(column.labels).tolist() if texts[number]), key=texts.__getitem__)
    if not used:
        return Column(column.values, column.states)
    own = np.full(len(texts), -1, np.int16)
    own[used] = np.arange(len(used))
    return Column(column.values, column.states, own[column.labels], tuple(texts[number] for number in used))
