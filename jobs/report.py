"""`dailies report`: the workspace as one HTML file that needs nothing else, not even a network.

    tables --report_funnel--> counts --+
    media  --report_media---> base64 --+--> report.html.jinja --> <workspace>/report.html
    curves --report_charts--> SVG -----+

The same tables give the same bytes: no clock, no random ids.
"""

from pydantic import BaseModel, Field


class ReportSettings(BaseModel, frozen=True, extra="forbid"):
    """How much media the report carries; everything else in it is counted over all rows."""

    num_survivors: int = Field(12, ge=0, description="playable clips shown that every gate and person kept")
    num_rejects: int = Field(12, ge=0, description="playable clips shown that were rejected, spread over the reasons")
    num_answers: int = Field(6, ge=0, description="clips shown with the annotators' answers side by side")
    num_samples: int = Field(8, ge=0, description="generated videos shown, the newest checkpoint first")
    clip_duration_s: float = Field(3.0, gt=0, description="seconds of each clip that are embedded, from its start")
    clip_height_px: int = Field(176, ge=32, le=720, multiple_of=2, description="height of an embedded clip")
    trace_clip_id: str = Field("", description="clip whose lineage is shown; empty picks the one with most to tell")
