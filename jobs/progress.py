"""Progress on everything long: a live bar on a terminal, a plain line every few seconds in a log.

with Progress("split", total=28, unit="videos") as progress:
    progress.advance(1, note="2 failures")
"""

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as RichProgress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 5.0


class Progress:
    """Counts up to `total` and shows it. `total=None` is for work whose size is not known."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._note = ""
        self._started_s = self._printed_s = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self.unit),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(self.label, total=self.total, note="")
            self._bar.start()
        else:
            self._line()
        return self

    def advance(self, count: int = 1, note: str | None = None) -> None:
        self.done += count
        self._note = self._note if note is None else note
        if self._bar is not None:
            self._bar.update(self._task, advance=count, note=self._note)
        elif time.monotonic() - self._printed_s >= LINE_EVERY_S:
            self._line()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._line()

    def _line(self) -> None:
        now = time.monotonic()
        elapsed_s, self._printed_s = now - self._started_s, now
        of_total = f"/{self.total}" if self.total is not None else ""
        rate = f", {self.done / elapsed_s:.2f} {self.unit}/s" if self.total and self.done and elapsed_s > 1 else ""
        note = f", {self._note}" if self._note else ""
        print(
            f"{self.label}: {self.done}{of_total} {self.unit}, {elapsed_s:.0f} s{rate}{note}",
            file=sys.stderr,
            flush=True,
        )
