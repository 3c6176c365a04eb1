"""Damage to videos: to the boxes of MP4 files, to numbers in headers, and texts that name other files."""

from __future__ import annotations

import struct
from random import Random

from tests.fuzz.values import EXTREMES

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf")
# FFmpeg would follow these to other files and to the network.
TEXTS = (
    b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\n../../outside/secret.h5\n#EXT-X-ENDLIST\n",
    b"#EXTM3U\n#EXTINF:10.0,\nhttp://127.0.0.1:9/x.ts\n",
    b"ffconcat version 1.0\nfile ../../outside/secret.h5\n",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    b"<?xml version='1.0'?><MPD><Period><BaseURL>http://127.0.0.1:9/</BaseURL></Period></MPD>",
    b"[Script Info]\nTitle: x\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,x\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    b"P6\n60000 60000\n255\n",
    b"YUV4MPEG2 W8192 H8192 F25:1 Ip A1:1 C420jpeg\nFRAME\n",
    b"YUV4MPEG2 W99999 H99999 F25:1\nFRAME\n",
    b"YUV4MPEG2 W2 H2 F0:0 C420jpeg\n" + b"FRAME\n123456" * 300,
    b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\xff\x00;",
)


def video(data: bytes, rng: Random) -> bytes:
    """Damage to a video file of any container."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice((rng.choice(TEXTS), rng.choice(TEXTS) + data, data + rng.choice(TEXTS)))
    boxes = _boxes(data, 0, len(data)) if data[4:8] in (b"ftyp", b"moov", b"wide", b"mdat") else []
    if boxes and kind < 8:
        return _other_box(data, *rng.choice(boxes), rng, boxes)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        size, order = rng.choice((2, 4, 4, 8)), rng.choice("<>")
        if len(changed) > size:
            place = (
                rng.randrange(min(len(changed), rng.choice((64, 512, 10**6))) - size)
                if len(changed) > size + 64
                else 0
            )
            value = rng.choice((*EXTREMES, 3, 24, 90_000)) % (1 << 8 * size)
            struct.pack_into(order + {2: "H", 4: "I", 8: "Q"}[size], changed, place, value)
    return bytes(changed)


def _boxes(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Start and length of every box, those within others too."""
    found: list[tuple[int, int]] = []
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        if length < 8 or start + length > end:
            break
        found.append((start, length))
        if name in CONTAINERS:
            found += _boxes(data, start + 8, start + length)
        start += length
    return found


def _other_box(data: bytes, start: int, length: int, rng: Random, boxes: list[tuple[int, int]]) -> bytes:
    end = start + length
    box = bytearray(data[start:end])
    kind = rng.randrange(7)
    if kind == 0:
        return data[:start] + data[end:]
    if kind == 1:
        return data[:end] + bytes(box) * rng.choice((1, 1, 100)) + data[end:]
    if kind == 2:
        other, size = rng.choice(boxes)
        return data[:start] + data[other : other + size] + data[end:]
    if kind == 3:
        struct.pack_into(">I", box, 0, rng.choice((*EXTREMES, length + 8, length - 8)) % 2**32)
    elif kind == 4:
        box[4:8] = rng.choice(
            (b"free", b"moov", b"stsd", b"\x00\x00\x00\x00", b"cmov", b"uuid", b"tref", b"dref")
        )
    elif len(box) > 12:
        for _ in range(rng.choice((1, 1, 2))):
            size = rng.choice((2, 4, 4, 4))
            place = rng.randrange(8, len(box) - size + 1)
            struct.pack_into(
                ">H" if size == 2 else ">I", box, place, rng.choice((*EXTREMES, 3, 24)) % (1 << 8 * size)
            )
    return data[:start] + bytes(box) + data[end:]
