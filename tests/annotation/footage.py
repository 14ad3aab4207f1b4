"""A clip record to make tasks of."""

from curation.records import Clip


def clip(clip_id: str = "c1", uri: str = "/footage/street.mp4") -> Clip:
    return Clip(
        clip_id=clip_id,
        video_id="v1",
        uri=uri,
        start_pts=25,
        end_pts=75,
        time_base_num=1,
        time_base_den=25,
        start_s=1.0,
        end_s=3.0,
        num_frames=50,
        width=640,
        height=360,
        frame_rate=30000 / 1001,
        splitter="test/1",
    )
