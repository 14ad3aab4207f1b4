"""A prompt together with the first frame of its video, as a LLaVA checkpoint reads both.

    template  <|..|>system .. {image} task .. user .. {prompt} <|..|>assistant..        {image} is one token
    expanded  <|..|>system .. i i i i task .. user .. prompt   <|..|>assistant..        one token per patch
    kept                      i   i                   prompt                 .         every `picture_stride`-th

The states of the picture come first, then those of the prompt, then the last `picture_tail_tokens` of what the template
says after it. HunyuanVideo-I2V: 576 tokens of a picture of 336 px, 288 of them kept. Source of the method: the
image-to-video pipeline of diffusers 0.42.1, which a test holds this to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor


def num_picture_tokens(config: Any) -> int:
    """Tokens that a LLaVA checkpoint makes of one picture: its patches, and the class token where it is kept."""
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    return patches + (config.vision_feature_select_strategy == "full")


@dataclass(frozen=True)
class PictureRows:
    """Token rows with a picture in each: ids [B, L] and their mask, still with one token in place of the picture.

    `crop` tokens come before the prompt, the picture counted as one; `tail` ids [S] follow it.
    """

    ids_BL: Tensor
    mask_BL: Tensor
    crop: int
    tail_S: Tensor


class PictureReader:
    """The whole LLaVA model and its picture processor; turns rows and pictures into the states that are kept."""

    def __init__(self, model: Any, folder: Path) -> None:
        self.model = model
        self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self.token_id: int = model.config.image_token_id
        self.num_tokens = num_picture_tokens(model.config)

    def states(
        self, rows: PictureRows, pictures: Sequence[Tensor], layers_from_end: int, stride: int, tail_tokens: int
    ) -> list[Tensor]:
        """States [L, width] per row. pictures: uint8 RGB [3, H, W] each, of any size.

        Raises:
            ValueError: a prompt that holds the token which stands for a picture.
        """
        if ((rows.ids_BL == self.token_id).sum(dim=1) != 1).any():
            raise ValueError(
                f"a prompt holds the text of token {self.token_id}, which stands for the picture; leave it out"
            )
        pixels = self.processor(list(pictures), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
        device, dtype = self.model.device, self.model.dtype
        place = int((rows.ids_BL[0] == self.token_id).nonzero()[0])  # the same in every row: the template's
        hidden = self.model(
            input_ids=self._widened(rows.ids_BL, place).to(device),
            attention_mask=self._widened(rows.mask_BL, place).to(device),
            pixel_values=pixels.to(device, dtype),
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states[-layers_from_end]
        results = []
        for states, ids, mask in zip(hidden, rows.ids_BL, rows.mask_BL, strict=True):
            picture = states[place : place + self.num_tokens : stride]
            words = kept_places(ids[mask.bool()], rows.crop, rows.tail_S, tail_tokens)
            results.append(torch.cat((picture, states[words.to(device) + self.num_tokens - 1])))
        return results

    def _widened(self, rows_BL: Tensor, place: int) -> Tensor:
        """Rows with the column at `place` repeated, once for each token of the picture."""
        picture = rows_BL[:, place : place + 1].expand(-1, self.num_tokens)
        return torch.cat((rows_BL[:, :place], picture, rows_BL[:, place + 1 :]), dim=1)


def kept_places(ids_L: Tensor, crop: int, tail_S: Tensor, tail_tokens: int) -> Tensor:
    """Places in a row without padding whose states are kept, behind those of the picture.

    The tail goes, but for its last tokens. Of a row so long that its tail was cut off, as many tokens go from the end
    as would have gone of the tail: what released weights were trained with.
    """
    dropped, length = len(tail_S) - tail_tokens, len(ids_L)
    is_whole = torch.equal(ids_L[length - len(tail_S) :], tail_S)
    end = length - tail_tokens if is_whole else length
    return torch.cat((torch.arange(crop, max(crop, end - dropped)), torch.arange(end, length)))
