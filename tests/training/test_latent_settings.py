"""Settings of encoded clips refuse what the VAE's cells cannot follow."""

import pytest
from pydantic import ValidationError

from training.latent_settings import LatentSettings


@pytest.mark.parametrize("given", [{"tile_px": 40}, {"tile_frames": 6}, {"dtype": "int8"}, {"tiles": 64}])
def test_tiles_are_whole_cells_and_names_are_known(given):
    with pytest.raises(ValidationError, match=next(iter(given))):
        LatentSettings(**given)
