import numpy as np
import torch

from training.clip_tensors import generator_of, to_tensor


def test_bytes_become_values_from_minus_one_to_one_with_channels_first():
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[1, 3, 5] = (255, 0, 51)
    video = to_tensor(frames)
    assert video.shape == (3, 2, 4, 6)
    assert video.dtype == torch.float32
    assert torch.allclose(video[:, 1, 3, 5], torch.tensor([1.0, -1.0, -0.6]))
    assert (video[:, 0] == -1).all()


def test_a_generator_gives_the_numbers_of_its_seed_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    one, two = (torch.randn(5, generator=generator_of(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, torch.randn(5, generator=generator_of(4)))
    assert torch.equal(before, torch.get_rng_state())
