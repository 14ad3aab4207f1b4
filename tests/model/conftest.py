"""diffusers, the reference of these tests, imports torchvision, which needs the shim before it; and tiny encoders."""

from pathlib import Path

import pytest

import torchvision_shim

torchvision_shim.install()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a tiny language model and a tiny CLIP text tower."""
    from model.text_tiny import build_tiny_text_encoder
    from tests.model.text_encoders import CORPUS

    return build_tiny_text_encoder(tmp_path_factory.mktemp("encoders"), CORPUS, seed=0)
