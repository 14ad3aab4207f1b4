"""The verb `generate`, from a run trained on the spot to a video that players accept."""

import io
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from annotation.vision_models import DrafterSettings
from curation.records import UserError
from curation.tables import Workspace
from jobs.generate import generate, plan
from tests.annotation.chat_server import MODEL, chat, error, serving
from tests.jobs.trained import SETTINGS, context


@pytest.fixture
def workspace(trained_workspace: Workspace) -> Workspace:
    return trained_workspace


@pytest.fixture
def picture(tmp_path) -> Path:
    """Red above, blue below, twice as wide as high."""
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[:25, :, 2] = pixels[25:, :, 0] = 230
    cv2.imwrite(str(tmp_path / "first.png"), pixels)
    return tmp_path / "first.png"


def test_each_prompt_becomes_a_video_with_its_facts_beside_it_and_a_row(workspace):
    samples = generate(context(workspace))
    assert [sample.prompt for sample in samples] == list(SETTINGS.prompts)
    assert workspace.read_bytes(samples[0].uri) != workspace.read_bytes(samples[1].uri)
    facts = json.loads(workspace.read_bytes("samples", f"{samples[0].sample_id}.json"))
    assert (facts["prompt"], facts["seed"], facts["settings"]["num_frames"]) == ("a red disc", 0, 5)
    assert set(facts["weights_sha256"]) == {"vae", "flow"}
    rows = workspace.table("samples").records()
    assert {row.sample_id for row in rows} >= {sample.sample_id for sample in samples}
    assert samples[0].checkpoint == f"{facts['run_id']}/image_256"


def test_players_get_h264_with_the_index_in_front_and_its_colours_named(workspace):
    (sample,) = generate(context(workspace, prompt=["a red disc"]))
    data = workspace.read_bytes(sample.uri)
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context_ = stream.codec_context
        assert (stream.codec.name, context_.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 8)
        assert (context_.color_primaries, context_.color_trc, context_.colorspace) == (1, 1, 1)
    assert np.stack(frames).shape == (5, 64, 64, 3)


def test_running_it_again_makes_nothing_twice_and_another_seed_another_video(workspace, capsys):
    first = generate(context(workspace))
    path = workspace.local_path(first[0].uri)
    written_ns = path.stat().st_mtime_ns
    assert generate(context(workspace)) == first
    assert path.stat().st_mtime_ns == written_ns
    assert capsys.readouterr().out.count("(made before)") >= 2
    other = generate(context(workspace, SETTINGS.model_copy(update={"seed": 1})))
    assert {sample.sample_id for sample in other}.isdisjoint(sample.sample_id for sample in first)


def test_a_lost_file_of_the_same_sample_would_have_the_same_bytes(workspace, tmp_path):
    (sample,) = generate(context(workspace, prompt=["a green disc"], out=str(tmp_path / "a.mp4")))
    workspace.table("samples").remove(sample.sample_id)
    (again,) = generate(context(workspace, prompt=["a green disc"], out=str(tmp_path / "b.mp4")))
    assert again == sample
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_still_image_is_a_video_of_one_frame(workspace):
    (sample,) = generate(context(workspace, SETTINGS.model_copy(update={"num_frames": 1}), prompt=["a red disc"]))
    with av.open(io.BytesIO(workspace.read_bytes(sample.uri))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 70}, "generate.width must be a multiple of 16 px, got 70; nearest: 64"),
        ({"num_frames": 16}, "generate.num_frames must be 4n[+]1, got 16; nearest: 17"),
    ],
)
def test_a_size_that_cannot_be_made_is_refused_before_anything_is_looked_for(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        plan(context(Workspace(str(tmp_path)), SETTINGS.model_copy(update=change)))


def test_one_file_for_two_prompts_and_an_untrained_workspace_are_refused(workspace, tmp_path):
    with pytest.raises(UserError, match="--out takes one video, but there are 2 prompts"):
        generate(context(workspace, out=str(tmp_path / "a.mp4")))
    with pytest.raises(UserError, match="nothing was trained"):
        generate(context(Workspace(str(tmp_path))))
    with pytest.raises(UserError, match=r"a.png must end with .mp4, or with .png where num_frames is 1; it is 5"):
        generate(context(workspace, prompt=["a red disc"], out=str(tmp_path / "a.png")))
    with pytest.raises(UserError, match="leave out --prompt and --out"):
        generate(context(workspace, prompts="p.txt", out=str(tmp_path / "a.mp4")))
    with pytest.raises(UserError, match="--run and --weights name two sets of networks"):
        generate(context(workspace, run="r", weights="w"))


def test_the_file_says_itself_how_it_was_made(workspace):
    (sample,) = generate(context(workspace, prompt=["a red disc"]))
    with av.open(io.BytesIO(workspace.read_bytes(sample.uri))) as container:
        said = json.loads(container.metadata["comment"])
    assert said == json.loads(workspace.read_bytes("samples", f"{sample.sample_id}.json"))
    assert set(said["weights_sha256"]) == {"vae", "flow"}


def test_a_still_is_a_png_as_well_with_the_decoded_pixels(workspace, tmp_path):
    still = SETTINGS.model_copy(update={"num_frames": 1, "width": 48})
    generate(context(workspace, still, prompt=["a red disc"], out=str(tmp_path / "a.png")))
    shown = cv2.imread(str(tmp_path / "a.png"))
    assert shown is not None and shown.shape == (64, 48, 3) and shown.std() > 1


def test_a_first_frame_is_where_the_video_starts_and_how_it_was_fitted_is_said(workspace, picture, capsys):
    with_picture = context(workspace, prompt=["a red disc"], image=str(picture))
    (sample,) = generate(with_picture)
    said = capsys.readouterr().out
    assert "first.png, 100x50 scaled by 1.28, 64 px of its width and 0 px of its height cut off" in said
    assert "the language model reads the words alone" in said
    assert sample.image.startswith("pictures/") and workspace.read_bytes(sample.image) == picture.read_bytes()
    (without,) = generate(context(workspace, prompt=["a red disc"]))
    assert sample.sample_id != without.sample_id
    picture.write_bytes(picture.read_bytes() + b" ")
    (changed,) = generate(with_picture)
    assert changed.sample_id != sample.sample_id, "another file under the same name is another sample"


def test_a_first_frame_that_is_not_there_is_no_picture_or_is_all_there_would_be_is_refused(workspace, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for image, message in (("nothing.png", "there is no picture"), ("text.png", "is no picture that can be read")):
        with pytest.raises(UserError, match=message):
            generate(context(workspace, prompt=["a"], image=str(tmp_path / image)))
    with pytest.raises(UserError, match="with an image, its first frame is given, so num_frames must be 5 or more"):
        generate(context(workspace, SETTINGS.model_copy(update={"num_frames": 1}), prompt=["a"], image="a.png"))


def test_a_rewritten_prompt_is_what_the_network_reads_and_stands_beside_the_original(workspace):
    words = "A red disc rolls slowly to the right, in soft light."
    with serving(lambda number, body: chat(json.dumps({"prompt": words}))) as server:
        drafter = DrafterSettings(model=MODEL, url=server.url)
        asked = context(workspace, prompt=["a red disc"], rewrite="master", drafter=drafter)
        (sample,) = generate(asked)
        assert generate(asked) == [sample]
        assert len(server.bodies) == 1, "what was made before is not rewritten again"
        (normal,) = generate(context(workspace, prompt=["a red disc"], rewrite="normal", drafter=drafter))
    assert (sample.prompt, sample.rewritten) == ("a red disc", words)
    assert json.loads(workspace.read_bytes("samples", f"{sample.sample_id}.json"))["rewritten"] == words
    (direct,) = generate(context(workspace, prompt=[words]))
    same = [pixels_of(workspace, row.uri) for row in (sample, direct, normal)]
    assert np.array_equal(same[0], same[1]) and normal.sample_id != sample.sample_id


def pixels_of(workspace: Workspace, uri: str) -> np.ndarray:
    with av.open(io.BytesIO(workspace.read_bytes(uri))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_prompt_that_cannot_be_rewritten_stops_the_run_with_the_reason(workspace):
    with serving(lambda number, body: error(400, "no such words")) as server:
        drafter = DrafterSettings(model=MODEL, url=server.url)
        asked = context(workspace, prompt=["something new"], rewrite="normal", drafter=drafter)
        with pytest.raises(UserError, match=r"1 of 1 prompts could not .*:\n.*something new.*endpoint refused"):
            generate(asked)
    with pytest.raises(UserError, match=r"rewriting prompts cannot start:\n  - a model: set annotation.drafter.model"):
        generate(context(workspace, prompt=["something new"], rewrite="normal"))
