"""`dailies report`: the workspace as one HTML file that needs nothing else, not even a network.

    tables --report_funnel--> counts --+
    media  --report_media---> base64 --+--> report.html.jinja --> <workspace>/report.html
    curves --report_charts--> SVG -----+

The same tables give the same bytes: no clock, no random ids.
"""

from pydantic import BaseModel, Field


class ReportSettings(BaseModel, frozen=True, extra="forbid"):
    """How much media the report carries; everything else in it is counted over all rows."""

    num_survivors: int = Field(default=12, ge=0, description="playable clips shown that every gate and person kept")
    num_rejects: int = Field(
        default=12, ge=0, description="playable clips shown that were rejected, spread over the reasons"
    )
    num_answers: int = Field(default=6, ge=0, description="clips shown with the annotators' answers side by side")
    num_samples: int = Field(default=8, ge=0, description="generated videos shown, the newest checkpoint first")
    clip_duration_s: float = Field(
        default=3.0, gt=0, description="seconds of each clip that are embedded, from its middle, as packing takes them"
    )
    clip_height_px: int = Field(default=176, ge=32, le=720, multiple_of=2, description="height of an embedded clip")
    trace_clip_id: str = Field(
        default="", description="clip whose lineage is shown; empty picks the one with most to tell"
    )
