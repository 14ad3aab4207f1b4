"""Folders and hub names: what is found, what is refused, and that nothing is fetched."""

from pathlib import Path

import pytest
import torch
from transformers import T5Config

from model.text import TextEncoder
from model.text_files import load_tokenizer, model_folder, sees_pictures, weights_digest
from tests.model.text_encoders import make_llava


def test_the_digest_sees_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"1")
    one = weights_digest(tmp_path)
    (tmp_path / "a.bin").rename(tmp_path / "b.bin")
    two = weights_digest(tmp_path)
    (tmp_path / "b.bin").write_bytes(b"2")
    assert len({one, two, weights_digest(tmp_path)}) == 3
    with pytest.raises(ValueError, match="holds no files"):
        weights_digest(tmp_path / "nothing")


def test_of_a_llava_checkpoint_the_language_part_is_used(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plain, whole = (
        TextEncoder.from_folders(*folders),
        TextEncoder.from_folders(make_llava(tmp_path, folders[0]), folders[1]),
    )
    assert type(whole.llm).__name__ == "LlamaModel"
    assert sees_pictures(tmp_path) and not sees_pictures(folders[0])
    assert not any("vision" in name for name, _ in whole.named_parameters()), "eyes that nobody asked for cost memory"
    for a, b in zip(plain.encode(["rain", ""], "video"), whole.encode(["rain", ""], "video"), strict=True):
        torch.testing.assert_close(a.states, b.states, rtol=0, atol=1e-6)


def test_a_hub_name_is_found_in_the_local_cache(folders: tuple[Path, Path], tmp_path: Path, monkeypatch) -> None:
    """In the cache's own layout, as `hf download` leaves it."""
    snapshot = tmp_path / "models--somebody--tiny" / "snapshots" / "abc123"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folders[0])
    (tmp_path / "models--somebody--tiny" / "refs").mkdir()
    (tmp_path / "models--somebody--tiny" / "refs" / "main").write_text("abc123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert model_folder("somebody/tiny") == snapshot
    assert TextEncoder.from_folders("somebody/tiny", folders[1]).width == 128


def test_what_is_no_encoder_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no such model in the local .* cache[.] .*`hf download nobody/no-such-model`"
    ):
        TextEncoder.from_folders("nobody/no-such-model", folders[1])
    with pytest.raises(ValueError, match=r"holds no config.json; expected a model folder"):
        TextEncoder.from_folders(tmp_path, folders[1])
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"encoder-decoder model \(t5\); expected a decoder-only one"):
        TextEncoder.from_folders(tmp_path, folders[1])
    with pytest.raises(ValueError, match="is a llama model, and pictures are understood of a llava checkpoint only"):
        TextEncoder.from_folders(*folders, pictures=True)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tokenizer that transformers can read"):
        load_tokenizer(tmp_path)
