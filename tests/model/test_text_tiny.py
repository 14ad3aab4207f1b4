"""Tiny text encoders: the same bytes for the same corpus and seed, and files that transformers reads."""

from pathlib import Path

import torch

from model.text_files import weights_digest
from model.text_tiny import build_tiny_text_encoder
from tests.model.text_encoders import CORPUS


def test_the_same_corpus_and_seed_give_the_same_bytes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    before = torch.get_rng_state()
    again = build_tiny_text_encoder(tmp_path / "again", CORPUS[::-1], seed=0)
    other = build_tiny_text_encoder(tmp_path / "other", CORPUS, seed=1)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is not touched"
    for first, same, different in zip(folders, again, other, strict=True):
        assert weights_digest(first) == weights_digest(same) != weights_digest(different)
