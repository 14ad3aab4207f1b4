"""The contact sheet around a threshold: the nearest clips on either side, in order, with pictures of their middle."""

import argparse
import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation.catalogue import Catalogue, Column
from curation.crop import crop_version
from curation.gates import GateRule, GateSettings, Rules, StageGates
from curation.records import Crop, UserError
from jobs.config import Context
from jobs.tune import Question, ask, near, run
from tests.jobs.catalogue import clips_in, context_of


def pool(**values: list[float]) -> Catalogue:
    columns = {name: Column.of_values(np.array(column)) for name, column in values.items()}
    return Catalogue(pa.array([f"c{index}" for index in range(len(next(iter(values.values()))))]), columns)


def question(rule: GateRule | None, catalogue: Catalogue, threshold: float | None = None, **given) -> Question:
    rules = () if rule is None else (rule,)
    settings = GateSettings(stages={"video": StageGates(rules=rules)})
    given = {"stage": "video", "scorer": "motion", "bound": None, **given}
    return ask(Rules(asked=settings, resolved=settings, versions={}), catalogue, threshold=threshold, **given)


def test_the_nearest_on_either_side_are_in_order_and_one_side_fills_up_the_other():
    catalogue = pool(motion=[5.0, 1.0, np.nan, 3.0, 2.0, 4.0])
    found = near(catalogue, question(GateRule(scorer="motion", min=3), catalogue), 2)
    assert (found.below.tolist(), found.above.tolist()) == ([4], [3]), "3 itself passes a min of 3"
    assert (found.num_below, found.num_above) == (2, 3)
    found = near(catalogue, question(GateRule(scorer="motion", max=3), catalogue), 2)
    assert (found.below.tolist(), found.above.tolist()) == ([3], [5]), "and a max of 3"
    found = near(catalogue, question(GateRule(scorer="motion", min=9), catalogue), 4)
    assert (found.below.tolist(), found.above.tolist()) == ([4, 3, 5, 0], [])


def test_a_threshold_in_place_of_the_gates_own_drops_a_band_that_no_longer_lies_outside():
    catalogue, rule = pool(motion=[1.0]), GateRule(scorer="motion", min=3, review_min=2)
    assert question(rule, catalogue, 2.5).rule == GateRule(scorer="motion", min=2.5, review_min=2)
    assert question(rule, catalogue, 1.5).rule == GateRule(scorer="motion", min=1.5)
    assert question(None, catalogue, 1.5).gates.rules == (GateRule(scorer="motion", min=1.5),)
    assert question(None, catalogue, 1.5, bound="max").rule == GateRule(scorer="motion", max=1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stage": "sft"}, "no gates for stage 'sft'; stages with gates: video"),
        ({"scorer": "smell"}, "no scorer 'smell' in this recipe; it has motion"),
        ({"bound": "max"}, "stage video has no max on motion; give --threshold. Its gates: motion at least 3"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(given, message):
    with pytest.raises(UserError, match=message):
        question(GateRule(scorer="motion", min=3), pool(motion=[1.0]), **given)


def test_a_pool_without_values_says_what_to_do():
    catalogue = pool(motion=[np.nan])
    with pytest.raises(UserError, match="no clip has a value of motion yet; run `dailies score` first"):
        near(catalogue, question(GateRule(scorer="motion", min=3), catalogue), 4)


def tuned(context: Context, **given) -> str:
    args = {"stage": "video", "scorer": "sharpness", "threshold": None, "bound": None, "count": 24, **given}
    assert run(Context(context.recipe, context.workspace, argparse.Namespace(**args))) == 0
    return context.workspace.read_bytes("tune", f"{args['stage']}-{args['scorer']}.html").decode()


def pictures(page: str) -> list[np.ndarray]:
    data = [base64.b64decode(text) for text in re.findall(r"data:image/jpeg;base64,([\w+/=]+)", page)]
    return [np.asarray(cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR)) for each in data]


def test_the_sheet_shows_each_clip_cropped_with_its_value_and_writes_no_verdict(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    first, second, third, fourth = clips_in(context)
    current = crop_version(context.recipe.score.crop)
    crop = Crop(first.clip_id, current, 0, 0, first.width // 2, first.height, "letterbox")
    context.workspace.table("crops").append("a", [replace(crop, version="0", width=16), crop])
    page = tuned(context)
    assert capsys.readouterr().out.strip().endswith("tune/video-sharpness.html")
    order = [page.index(clip.clip_id[:12]) for clip in (third, second, first)]
    assert order == sorted(order) and fourth.clip_id not in page
    assert page.index("min = 10") > order[1] and page.index("min = 10") < order[2]
    shapes = [picture.shape[1] / picture.shape[0] for picture in pictures(page)]
    assert len(shapes) == 3 and shapes[2] == pytest.approx(shapes[0] / 2, rel=0.02)
    assert not context.workspace.table("gate_verdicts").stems()
    assert tuned(context) == page, "the same rows and footage give the same bytes"


def test_a_clip_whose_source_has_gone_says_so_in_place_of_its_picture(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    (tmp_path / "film.mp4").unlink()
    page = tuned(context, threshold=5.0)
    assert page.count("cannot be shown") == 3 and pictures(page) == []


def test_fewer_than_two_clips_are_refused(tmp_path):
    with pytest.raises(UserError, match="--count 1 shows no clip on either side; give at least 2"):
        tuned(context_of(tmp_path, [20.0, 7.0, 1.0, None]), count=1)
