"""What a curriculum must and must not say."""

import tomllib

import pytest
from pydantic import ValidationError

from training.stages import StageSettings, TextSettings, TrainSettings

RECIPE = """
[[stages]]
name = "vae"
objective = "vae"
shards = { image = 1, video = 4 }
[[stages]]
name = "image_256"
shards = { image = 1 }
"""


def test_a_recipe_reads_as_a_list_of_stages():
    settings = TrainSettings.model_validate(tomllib.loads(RECIPE))
    assert [(stage.name, stage.objective) for stage in settings.stages] == [("vae", "vae"), ("image_256", "flow")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": {}}, r"stage 'a' needs `shards` with at least one curation stage"),
        ({"shards": {"image": 0}}, r"positive shares, got \{'image': 0.0\}"),
        ({"crop_frames": 8}, r"crop_frames must be 4n\+1 \(1, 5, 9, ...\), got 8"),
        ({"name": "Stage 1"}, "should match pattern"),
        ({"stepz": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_stage_that_cannot_be_trained_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        StageSettings.model_validate({"name": "a", "shards": {"image": 1}, **change})


def test_two_stages_of_one_name_are_refused():
    stage = StageSettings(name="vae", objective="vae", shards={"image": 1})
    with pytest.raises(ValidationError, match=r"\['vae'\] occur more than once"):
        TrainSettings(stages=(stage, stage))


def test_latents_need_a_vae_first():
    flow = StageSettings(name="image_256", shards={"image": 1})
    vae = StageSettings(name="vae", objective="vae", shards={"image": 1})
    with pytest.raises(
        ValidationError, match="stage 'image_256' trains on latents, but no `vae` stage comes before it"
    ):
        TrainSettings(stages=(flow, vae))


def test_one_text_encoder_without_the_other_is_refused():
    with pytest.raises(ValidationError, match="both folders or neither, got llm='/models/llama' and clip=''"):
        TextSettings(llm="/models/llama")
