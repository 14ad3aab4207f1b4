"""Pictures say in colour whether a sample shows what was asked, and curves show every stage."""

import cv2
import numpy as np

from jobs.shapes import draw, scene_of
from jobs.shapes_score import Seen, see
from jobs.toy_pictures import BAD, CELL_PX, GOOD, LINE, TEXT_PX, contact_sheet, curves


def _pixels(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1].astype(int)


def _has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture - np.array(colour)).max(axis=-1) < 60).any())


def test_a_prompt_is_green_where_all_of_it_is_seen_and_red_where_not() -> None:
    scenes = [scene_of(0, 0), scene_of(1, 0)]
    samples = [draw(scenes[0], 32, 5), draw(scene_of(6, 0), 32, 5)]
    sheet = _pixels(contact_sheet(scenes, samples, [see(frames) for frames in samples]))
    width = sheet.shape[1] // 3
    first, second = sheet[:TEXT_PX, :width], sheet[:TEXT_PX, width : 2 * width]
    assert _has(first, GOOD) and not _has(first, BAD)
    assert _has(second, BAD) and not _has(second, GOOD)
    assert np.abs(sheet[TEXT_PX : TEXT_PX + CELL_PX, :CELL_PX] - samples[0][0].repeat(2, 0).repeat(2, 1)).max() == 0


def test_a_sheet_of_stills_shows_one_frame_each() -> None:
    scenes = [scene_of(number, 0) for number in range(3)]
    stills = [draw(scene, 32, 1) for scene in scenes]
    sheet = _pixels(contact_sheet(scenes, stills, [Seen("", "", "")] * 3))
    assert 3 * CELL_PX <= sheet.shape[1] < 4 * CELL_PX


def test_every_stage_has_a_panel_with_its_steps_and_its_held_out_losses() -> None:
    rows = [{"kind": "step", "stage": stage, "step": step, "loss": 1 / step} for stage in "abcd" for step in (1, 2, 3)]
    rows += [{"kind": "held_out", "stage": "a", "step": step, "loss": loss} for step, loss in ((0, 1.0), (3, 0.4))]
    picture = _pixels(curves(rows))
    height, width = picture.shape[0] // 2, picture.shape[1] // 3
    panels = [picture[y : y + height, x : x + width] for y in (0, height) for x in range(0, 3 * width, width)]
    assert [_has(panel, LINE) for panel in panels] == [True, True, True, True, False, False]
    assert [_has(panel, GOOD) for panel in panels] == [True, False, False, False, False, False]
