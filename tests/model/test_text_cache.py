"""The cache of encoded prompts: bounded, and true to what was put in."""

import torch

from model.text_cache import PromptCache, key_of


def test_the_least_recently_used_go_first_and_the_bytes_stay_bounded():
    cache = PromptCache(limit_bytes=3 * 40)
    for name in "abc":
        cache.put(name, torch.full((10,), float(ord(name))))
    assert cache.get("a") is not None
    cache.put("d", torch.zeros(10))
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    assert (len(cache), cache.num_bytes) == (3, 120)
    cache.put("a", torch.ones(5))
    assert cache.num_bytes == 100


def test_what_is_larger_than_the_cache_is_not_kept_and_pushes_nothing_out():
    cache = PromptCache(limit_bytes=40)
    cache.put("a", torch.ones(10))
    cache.put("b", torch.ones(11))
    assert cache.get("a") is not None and cache.get("b") is None


def test_keys_tell_parts_apart():
    assert len({key_of("a", "b"), key_of("ab"), key_of("a", "b", ""), key_of(["a", "b"]), key_of("b", "a")}) == 5
