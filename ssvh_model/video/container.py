"""Opening a video file that may be anything, and reading its table of packets without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# A container format outside this list is refused. Without it FFmpeg draws text files as terminal art, and
# follows playlists to other files and to the network.
CONTAINER_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,nut,ivf,gif,h264,hevc,yuv4mpegpipe"
MAX_PIXELS = 8192 * 8192  # a decoder keeps up to 17 reference frames of this size


class UnreadableVideo(Exception):
    """A file from which no frames can be had.

    Attributes:
        reason: one line that says why, without the path.
    """

    def __init__(self, reason: str) -> None:
        self.reason = " ".join(reason.split())
        super().__init__(self.reason)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the first real video stream of a file; errors of FFmpeg inside the block become `UnreadableVideo`.

    Decoding uses one thread, so that damaged parts are concealed the same way at every run.

    Raises:
        UnreadableVideo: the file is missing, empty, not a video, has no video stream, its frames are above
            `MAX_PIXELS`, or anything in the block could not be read or decoded.
    """
    import av

    try:
        if not path.is_file():
            raise UnreadableVideo(
                "is not a regular file" if path.exists() else "missing: there is no such file"
            )
        if path.stat().st_size == 0:
            raise UnreadableVideo("empty: the file has no bytes")
        options = {"format_whitelist": CONTAINER_FORMATS, "protocol_whitelist": "file"}
        # Tags of old files are often in an unknown encoding (HMDB51); nobody reads them here.
        with av.open(str(path.resolve()), options=options, metadata_errors="ignore") as container:
            stream = _first_video_stream(container)
            codec = stream.codec_context
            codec.thread_count = 1
            if codec.width * codec.height > MAX_PIXELS:
                raise UnreadableVideo(
                    f"frames of {codec.width}x{codec.height} pixels; at most {MAX_PIXELS} pixels are read"
                )
            yield container, stream
    except av.error.InvalidDataError as error:
        raise UnreadableVideo("not a video, or damaged where its frames are listed: invalid data") from error
    except av.error.EOFError as error:
        raise UnreadableVideo("truncated or damaged: it ends before its frames are listed") from error
    except av.error.ArgumentError as error:
        raise UnreadableVideo("not a video of a known format") from error
    except PermissionError as error:
        raise UnreadableVideo("may not be read: permission denied") from error
    except av.error.FFmpegError as error:
        raise UnreadableVideo(f"could not be decoded: {error.strerror}") from error
    except (OSError, ValueError, RuntimeError, ArithmeticError, LookupError, MemoryError) as error:
        raise UnreadableVideo(f"could not be decoded: {type(error).__name__}: {error}") from error


def _first_video_stream(container: InputContainer) -> VideoStream:
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover picture of a sound file
            if stream.codec_context is None:
                raise UnreadableVideo("no decoder for its video codec")
            return stream
    raise UnreadableVideo("no video stream in the file")


@dataclass(frozen=True)
class PacketTable:
    """The packets of a video stream in file order, which is decoding order.

    Attributes:
        times: [n] int64, presentation time stamps in units of the stream; meaningless where not `ordered`.
        keys: [n] bool, True where decoding can start.
        ordered: True if `times` are the container's own and all different, so that sorting by them gives the
            order of presentation. AVI and raw streams carry none: there the decoder's output order is the
            order of presentation.
        announced: number of frames that the file's header promises; 0 if it does not.
        remark: "" or what seems to be wrong with the file.
    """

    times: np.ndarray
    keys: np.ndarray
    ordered: bool
    announced: int
    remark: str

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def presentation(self) -> np.ndarray:
        """Time stamps in the order of presentation, [n] int64."""
        return np.sort(self.times)


def read_packets(container: InputContainer, stream: VideoStream) -> PacketTable:
    """Read the whole file once without decoding: one packet is one frame, except in rare codecs.

    Raises:
        UnreadableVideo: not a single packet is there.
    """
    import av

    times: list[int] = []
    keys: list[bool] = []
    packets = 0
    ordered = container.format.name != "avi"
    damage = ""
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            packets += 1
            if packet.is_discard:  # cut away by an edit list: decoded, never shown
                continue
            ordered = ordered and packet.pts is not None
            times.append(packet.pts or 0)
            keys.append(packet.is_keyframe)
    except av.error.FFmpegError as error:
        damage = f"damaged after {packets} frames: {error.strerror}"
    if not times:
        raise UnreadableVideo(damage or "no frames in its video stream")
    if not damage and packets < stream.frames:
        damage = f"truncated: {packets} of {stream.frames} frames are in the file"
    array = np.array(times, dtype=np.int64)
    ordered = ordered and len(np.unique(array)) == len(array)
    return PacketTable(array, np.array(keys, dtype=bool), ordered, stream.frames, damage)
