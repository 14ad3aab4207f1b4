"""Our side of `python -m tests.bench.cuts --cli`: the cuts of one file, in a process that imports nothing else.

python -m tests.bench.cuts_of_file FILE LINES [DETECTOR]          prints the number of frames and the cuts' indices
"""

import sys

import cv2

from curation.detector import Detector, detector_settings, make_detector
from curation.video import FrameSpec, scan


def main(uri: str, lines: int, name: str = "content") -> int:
    cv2.setNumThreads(1)
    frames = scan(uri, [FrameSpec(fps=None, short_side_px=lines, planes="bgr")])
    detector: Detector | None = None
    index_of: dict[int, int] = {}
    cuts: list[int] = []
    for seen in frames:
        if detector is None:
            assert frames.facts is not None
            rate = frames.facts.frame_rate or 25
            detector = make_detector(name, detector_settings(name, {}), frames.facts.time_base, rate)
        index_of[seen.frame.pts] = len(index_of)
        cuts += detector.push(seen.frame)
    assert detector is not None
    cuts += detector.finish()
    print(len(index_of), [index_of[cut] for cut in cuts])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
