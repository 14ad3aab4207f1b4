"""What is worth asking: where models differ and people do not, and not twice the same in one batch."""

import numpy as np
import pytest

from annotation.information import answer_bits, choose_batch, entropy_bits, learnable_bits, proposal_bits


def test_entropy_is_a_bit_where_everything_is_open_and_nothing_where_all_is_known():
    assert entropy_bits(np.array([0.0, 0.5, 1.0, 0.11])) == pytest.approx([0, 1, 0, 0.5], abs=1e-3)


def test_an_answer_teaches_where_the_members_differ_and_not_where_people_do():
    """First clip: all members say that people toss a coin. Second: half are sure of yes, half of no."""
    chances = np.array([[0.5, 0.99, 0.9], [0.5, 0.01, 0.9]])
    assert answer_bits(chances) == pytest.approx([1, 1, entropy_bits(np.array(0.9))])
    bits = learnable_bits(chances)
    assert bits[0] == pytest.approx(0) and bits[1] > 0.9 and bits[2] == pytest.approx(0)


def test_a_clip_at_the_edge_of_the_proposal_counts_more_than_one_deep_inside_or_far_outside():
    generator = np.random.default_rng(0)
    truth = np.linspace(0, 1, 200)
    chances = np.clip(truth + 0.05 * generator.standard_normal((15, 200)), 0, 1)
    bits = proposal_bits(chances, 0.2)
    assert bits[155:165].min() > max(bits[:120].max(), bits[190:].max())


def test_a_batch_does_not_ask_the_same_twice():
    """Fifty copies of the most informative clip, and ten others that are worth a little less."""
    vectors = np.concatenate([np.tile(np.eye(12)[0], (50, 1)), np.eye(12)[1:11]])
    bits = np.concatenate([np.full(50, 0.9), np.full(10, 0.8)])
    chosen = choose_batch(bits, vectors, 11, np.ones(60, bool), 0)
    assert (chosen < 50).sum() == 1 and sorted(chosen[chosen >= 50]) == list(range(50, 60))
    assert (choose_batch(bits, None, 11, np.ones(60, bool), 0) < 50).all()


def test_only_waiting_clips_are_asked_and_each_once():
    generator = np.random.default_rng(1)
    waiting = generator.random(300) < 0.5
    bits, vectors = generator.random(300), generator.standard_normal((300, 8))
    vectors[::7] = np.nan
    chosen = choose_batch(bits, vectors, 40, waiting, 0)
    assert len(set(chosen.tolist())) == 40 and waiting[chosen].all()
    np.testing.assert_array_equal(chosen, choose_batch(bits, vectors, 40, waiting, 0))
    everything = choose_batch(bits, vectors, 1000, waiting, 0)
    assert sorted(everything.tolist()) == np.flatnonzero(waiting).tolist()


def test_equals_are_drawn_by_seed_and_not_by_place():
    same = np.ones(200)
    first, second = (choose_batch(same, None, 20, np.ones(200, bool), seed) for seed in (0, 1))
    assert set(first.tolist()) != set(second.tolist()) and first.max() > 100
