"""Which clips to ask people about next, so that the next hour of a person teaches the machine most.

    chances [M, N] of a committee --> information [N], bits --+
    vectors [N, D] --> unlike what is already in the batch ---+--> places, in the order of asking

A committee is the model fitted several times to resamples of the answered videos (query by bagging: Abe and Mamitsuka
1998): where its members differ, an answer settles something; where all say 0.5, people differ, and one more answer
settles nothing. `learnable_bits` is that difference: the mutual information of the answer and the model (BALD: Houlsby
et al. 2011, arXiv 1112.5745). `answer_bits` is the whole entropy, which needs one model only. `proposal_bits` asks what
matters in the end: do the members agree on whether the clip is proposed?

One batch is asked before the next fit, so its clips must not all say the same: a clip counts for less the nearer it
lies to one that is already in the batch. Bits, 0 to 1; legend: M members, N clips, D dimensions, B clips of a batch.
"""

import numpy as np

CANDIDATES_PER_CLIP = 20  # of a batch: the most informative ones, among which it looks for unlike clips


def entropy_bits(chance: np.ndarray) -> np.ndarray:
    """Entropy of a yes or no with this chance, any shape."""
    share = np.clip(chance, 1e-12, 1 - 1e-12)
    return -share * np.log2(share) - (1 - share) * np.log2(1 - share)


def answer_bits(chances_MN: np.ndarray) -> np.ndarray:
    """How open the answer is, by the mean of the committee (of one model, if it is alone): [N]."""
    return entropy_bits(np.mean(chances_MN, axis=0))


def learnable_bits(chances_MN: np.ndarray) -> np.ndarray:
    """How much the answer would say about the model: the mean's entropy less the members' own: [N]."""
    return np.maximum(answer_bits(chances_MN) - entropy_bits(chances_MN).mean(axis=0), 0.0)


def proposal_bits(chances_MN: np.ndarray, proposed_share: float) -> np.ndarray:
    """How far the members differ on the proposal, when each proposes its best `proposed_share` of clips: [N].

    Half of a vote is added on either side, so a clip that all agree on is not worth exactly nothing.
    """
    bars = np.quantile(chances_MN, 1 - proposed_share, axis=1, keepdims=True)
    votes = (chances_MN >= bars).sum(axis=0)
    return entropy_bits((votes + 0.5) / (len(chances_MN) + 1))


def choose_batch(
    bits_N: np.ndarray, vectors_ND: np.ndarray | None, size: int, waiting: np.ndarray, seed: int
) -> np.ndarray:
    """Places of the clips to ask about, the most informative first; equals in seeded order.

    A clip's bits are multiplied by its distance (1 - cosine, at most 1) to the nearest clip of the batch.

    Args:
        vectors_ND: of any length; NaN rows, or None, where there is none: such clips count as unlike all others.
        waiting: bool [N], which clips may be asked.
    """
    places = np.flatnonzero(waiting)
    order = np.random.default_rng(seed).permutation(len(places))
    places = places[order][np.argsort(-bits_N[places][order], kind="stable")][: max(size, CANDIDATES_PER_CLIP * size)]
    if vectors_ND is None:
        return places[:size]
    unit = np.nan_to_num(vectors_ND[places] / np.linalg.norm(vectors_ND[places], axis=1, keepdims=True))
    left, chosen = bits_N[places].astype(np.float64) + 1e-9, []
    distance = np.ones(len(places))
    for _ in range(min(size, len(places))):
        best = int(np.argmax(left * distance))
        chosen.append(best)
        left[best] = -1.0
        distance = np.minimum(distance, np.clip(1 - unit @ unit[best], 1e-6, 1.0))
    return places[np.array(chosen, np.int64)]
