"""Real faults for the tests: SIGKILL into the engine's actor processes while a job runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

POLL_S = 0.05


@contextmanager
def killing(num_kills: int, when: Callable[[int], bool]) -> Iterator[list[int]]:
    """Kill `num_kills` engine actors of this session, each once `when(kills so far)`; yields the killed pids."""
    killed: list[int] = []
    stop = threading.Event()

    def hunt() -> None:
        while len(killed) < num_kills and not stop.wait(POLL_S):
            victim = next(iter(_actors()), None) if when(len(killed)) else None
            if victim is not None and victim.pid not in killed:
                victim.kill()
                killed.append(victim.pid)

    hunter = threading.Thread(target=hunt, daemon=True)
    hunter.start()
    try:
        yield killed
    finally:
        stop.set()
        hunter.join()


def _actors() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "_PartWriter" in _command(child) and "submit" in _command(child)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
