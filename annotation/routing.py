"""Which clips go to people, and in which order.

Today the gates' review band: a clip goes when at least one stage's verdict is `review`. The order is a seeded shuffle
that depends on the clip ids alone, so two runs agree, neighbours of one film do not tire the annotator in a row, and
those who stop half-way have seen a fair sample. Verdicts come and go as Arrow rows: a million take about a second.
"""

import pyarrow as pa
import pyarrow.compute as pc

from curation.records import Decision, content_id

SCHEMA = pa.schema([("clip_id", pa.string()), ("reason", pa.string())])


def select(verdicts: pa.Table, seed: int) -> pa.Table:
    """Every clip with a `review` verdict, once, in the seeded order, and why it needs people, stage by stage.

    Args:
        verdicts: rows of `gate_verdicts`, of one set of rules.

    Returns:
        Columns `clip_id` and `reason` ("image: sharpness < 8; video: motion < 0.02").
    """
    if not verdicts.num_rows:
        return SCHEMA.empty_table()
    review = verdicts.filter(pc.field("decision") == Decision.REVIEW.value).select(["clip_id", "stage", "reason"])
    review = review.cast(pa.schema([(name, pa.string()) for name in review.column_names]))
    review = review.sort_by([("clip_id", "ascending"), ("stage", "ascending")])
    texts = pc.call_function("binary_join_element_wise", [review.column("stage"), review.column("reason"), ": "])
    grouped = review.append_column("text", texts).group_by("clip_id", use_threads=False).aggregate([("text", "list")])
    reasons = pc.call_function("binary_join", [grouped.column("text_list"), "; "])
    routed = pa.table([grouped.column("clip_id"), reasons], schema=SCHEMA)
    places = [content_id(seed, clip_id) for clip_id in routed.column("clip_id").to_pylist()]
    return routed.append_column("place", pa.array(places, pa.string())).sort_by("place").select(SCHEMA.names)
