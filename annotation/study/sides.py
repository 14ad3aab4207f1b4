"""On which side each video of a comparison stands: by chance, but as often on one side as on the other.

Of every pair of systems, one stands on side A as often as the other, over all rounds together. Where a pair is asked an
odd number of times one of the two stands there once more; these odd ones are edges of a graph, pointing away from the
one on side A, and are turned so that every system stands as often on A as on B, or once more. That is always possible
(an Eulerian orientation), and it is found as the least sum of squared differences: while a path leads from a system to
one that differs from it by more than 2, its edges are turned round. Pairs of an earlier round that are not asked now
keep theirs; then it is the nearest to balance that the new ones allow.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

Pair = tuple[str, str]


def balanced_sides(pairs: Sequence[Pair], before: Mapping[Pair, int], generator: np.random.Generator) -> list[bool]:
    """For each pair of systems whether it is shown the other way round, the second one on side A.

    Args:
        before: (system on side A, on side B) -> how often asked so far.

    Returns:
        With these and those before, the two ways of every pair differ by at most one, and so does how often a system
        stands on A and on B, unless `before` was further off than these can mend.
    """
    places: dict[Pair, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        places[_named(pair)].append(place)
    lean: Counter[Pair] = Counter()
    for pair, number in before.items():
        lean[_named(pair)] += number if pair == _named(pair) else -number
    odd = [pair for pair, some in sorted(places.items()) if (len(some) + lean[pair]) % 2]
    settled: Counter[str] = Counter()
    for (one, other), number in lean.items():
        if (one, other) not in places:
            settled[one] += number
            settled[other] -= number
    coins = generator.random(len(odd)) < 0.5
    ahead = _oriented([_turned(pair) if coin else pair for pair, coin in zip(odd, coins, strict=True)], settled)
    exchanged = [False] * len(pairs)
    for pair, some in sorted(places.items()):
        extra = (pair in ahead) - (_turned(pair) in ahead)
        forward = (len(some) - lean[pair] + extra) // 2  # outside 0 to len(some) where `before` was too far off
        for rank, place in enumerate(generator.permutation(len(some)).tolist()):
            first_named_on_a = rank < forward
            exchanged[some[place]] = first_named_on_a != (pairs[some[place]] == pair)
    return exchanged


def _turned(pair: Pair) -> Pair:
    return pair[1], pair[0]


def _named(pair: Pair) -> Pair:
    """The same pair with its names in order."""
    return min(pair, _turned(pair))


def _oriented(edges: Sequence[Pair], settled: Mapping[str, int]) -> set[Pair]:
    """The edges, some of them turned round, so that each end begins as many as it finishes, as nearly as possible.

    Args:
        settled: what each end has begun more than finished before.
    """
    ways, excess = set(edges), Counter(settled)
    for one, other in edges:
        excess[one] += 1
        excess[other] -= 1
    while path := _downhill(ways, excess):
        ways = ways - set(path) | {_turned(edge) for edge in path}
        excess[path[0][0]] -= 2
        excess[path[-1][1]] += 2
    return ways


def _downhill(ways: set[Pair], excess: Mapping[str, int]) -> list[Pair]:
    """A shortest path from an end to one whose excess is lower by more than 2; empty where there is none."""
    for start in sorted({one for one, _ in ways}, key=lambda end: (-excess[end], end)):
        paths: dict[str, list[Pair]] = {start: []}
        queue = [start]
        for here in queue:
            if excess[start] - excess[here] > 2:
                return paths[here]
            for edge in sorted(edge for edge in ways if edge[0] == here and edge[1] not in paths):
                paths[edge[1]] = [*paths[here], edge]
                queue.append(edge[1])
    return []
