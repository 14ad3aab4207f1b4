"""Puts the cuts of several detectors of one film into one rising list, each only when no earlier one can still come."""

import heapq


class CutQueue:
    """`add` in any order; `release` gives what is settled, without those too close to the one before."""

    def __init__(self, min_shot_pts: int) -> None:
        self._min_shot_pts = min_shot_pts
        self._waiting: list[int] = []
        self._last: int | None = None

    def add(self, cuts: list[int]) -> None:
        for cut in cuts:
            heapq.heappush(self._waiting, cut)

    def release(self, settled_pts: int | None) -> list[int]:
        """Waiting cuts before `settled_pts`, all of them for None."""
        released = []
        while self._waiting and (settled_pts is None or self._waiting[0] < settled_pts):
            cut = heapq.heappop(self._waiting)
            if self._last is None or cut - self._last >= max(1, self._min_shot_pts):
                self._last = cut
                released.append(cut)
        return released
