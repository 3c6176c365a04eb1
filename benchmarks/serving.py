"""How soon `ssvh serve` answers many clients at once, beside the bare scan of the same codes and the bare
decoder and backbone in the same run.

    python benchmarks/serving.py
    python benchmarks/serving.py --videos 100000 --seconds 5

Needs `make run`. Makes an index of the corpus by the hasher that was trained, filled up with random codes to
`--videos`, in a temporary folder, and starts the real command. Clients keep their connections, and each asks
again as soon as it has its answer: first for codes, then with a clip of the corpus as upload. They share the
machine with the service, as whatever else runs there does: the ratios say more than the milliseconds, and
the service's processor time for an answer most. Decoder and backbone alone are the same clips in one process,
one being decoded while the other goes through the backbone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

import numpy as np
import psutil
from trained_index import make_trained_index

from ssvh_model.index.coded_videos import CodedVideos, whole_spans
from ssvh_model.index.hex_codes import code_to_hex
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.scan import nearest
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import load_saved_hasher
from ssvh_model.retrieval.hamming import as_words
from ssvh_model.video.decoding import SampledFrames
from ssvh_model.video.extraction import decode_for
from tasks import paths

HITS = 10
BY_CODE = (1, 4, 16, 50)  # clients at once
BY_CLIP = (1, 4)
SCANS = 200


def fill_up(folder: Path, videos: int) -> CodedVideos:
    """Add random codes to an index of the corpus until it has so many videos."""
    index = IndexFolder(folder)
    known = open_snapshot(folder).whole()
    more = max(0, videos - len(known))
    rng = np.random.default_rng(1)
    filling = replace(
        known,
        ids=[f"filling-{number}" for number in range(more)],
        codes=rng.integers(0, 256, (more, known.codes.shape[1]), dtype=np.uint8),
        labels=[f"label {number % 20}" for number in range(more)],
        paths=[""] * more,
        durations=np.ones(more, dtype=np.float32),
        spans=whole_spans(np.ones(more)),
    )
    whole = known.followed_by(filling)
    with index.alone():
        index.replace(whole, index.hasher_folder(), replace(index.settings(), exact_up_to=10**9), seed=1)
    return whole


def scan_milliseconds(videos: CodedVideos, codes: np.ndarray) -> list[float]:
    """By the clock, for each of some single queries, on one thread and without the service."""
    words = as_words(videos.codes)
    taken = []
    for number in range(SCANS):
        query = as_words(codes[number % len(codes)][None])
        began = time.perf_counter()
        nearest(query, words, count=HITS)
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def decoder_and_backbone(folder: Path, clips: Sequence[Path], seconds: float) -> dict[str, float]:
    """Clips a second, and processor milliseconds a clip, without the service; the decoder in a thread."""
    encoder = VideoEncoder(*load_saved_hasher(folder))
    backbone, frames = encoder.backbone, encoder.hasher.config.frames
    process = psutil.Process()

    def decoded(number: int) -> SampledFrames:
        return decode_for(backbone, clips[number % len(clips)], frames=frames)

    encoder.features_of(decoded(0))
    before, began, done = processor_seconds(process), time.perf_counter(), 0
    with ThreadPoolExecutor(1) as decoder:
        ahead = decoder.submit(decoded, 0)
        while time.perf_counter() - began < seconds:
            sampled, ahead = ahead.result(), decoder.submit(decoded, done + 1)
            encoder.features_of(sampled)
            done += 1
    passed, counted = time.perf_counter() - began, processor_seconds(process) - before
    return {
        "clips_a_second": round(done / passed, 1),
        "processor_milliseconds_a_clip": round(1000 * counted / done, 1),
    }


def hammer(
    service: psutil.Process,
    address: tuple[str, int],
    clients: int,
    seconds: float,
    request: Callable[[int], tuple[bytes, str]],
) -> dict[str, Any]:
    """Let clients ask for some seconds; how long they waited. Any answer but 200 ends the program."""
    taken: list[float] = []
    faults: list[str] = []
    until = time.perf_counter() + seconds

    def client(seed: int) -> None:
        connection = http.client.HTTPConnection(*address, timeout=600)
        rng = np.random.default_rng(seed)
        while time.perf_counter() < until and not faults:
            body, kind = request(int(rng.integers(2**31)))
            began = time.perf_counter()
            connection.request("POST", f"/search?count={HITS}", body, {"Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
            taken.append(1000 * (time.perf_counter() - began))
            if response.status != 200:
                faults.append(content.decode())

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    began, before = time.perf_counter(), processor_seconds(service)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed, counted = time.perf_counter() - began, processor_seconds(service) - before
    if faults:
        sys.exit(f"an answer was no answer: {faults[0]}")
    return {
        "clients": clients,
        "answers": len(taken),
        "answers_a_second": round(len(taken) / passed, 1),
        "processor_milliseconds_an_answer": round(1000 * counted / len(taken), 3),
        **percentiles(taken),
    }


def processor_seconds(service: psutil.Process) -> float:
    """That the service and its processes have taken so far."""
    times = [one.cpu_times() for one in (service, *service.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {
        f"p{share}_milliseconds": round(float(np.percentile(milliseconds, share)), 3) for share in (50, 99)
    }


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of clients")
    parser.add_argument("--name", default="serving", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    clips = sorted((paths.CORPUS / "clips").glob("*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        index = make_trained_index(Path(folder))
        videos = fill_up(index, arguments.videos)
        scan = percentiles(scan_milliseconds(videos, videos.codes[:100]))
        direct = decoder_and_backbone(Path(folder) / "hasher", clips, arguments.seconds)
        command = [sys.executable, "-m", "flows.cli", "serve", "--index", str(index), "--port", "0"]
        service = subprocess.Popen(
            [*command, "--uploads", str(max(BY_CLIP))],
            env={**os.environ, "SSVH_TOKEN": "of the benchmark"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.stdout is not None
            host, _, port = service.stdout.readline().split("//")[1].strip(" /\n").partition(":")
            address = (host, int(port))
            await_ready(address)

            def code(number: int) -> tuple[bytes, str]:
                asked = {"code": code_to_hex(videos.codes[number % len(videos)])}
                return json.dumps(asked).encode(), "application/json"

            def clip(number: int) -> tuple[bytes, str]:
                return clips[number % len(clips)].read_bytes(), "video/mp4"

            started = psutil.Process(service.pid)
            hammer(started, address, 1, 1.0, clip)  # the first loads what it needs
            by_code = [hammer(started, address, clients, arguments.seconds, code) for clients in BY_CODE]
            by_clip = [hammer(started, address, clients, arguments.seconds, clip) for clients in BY_CLIP]
        finally:
            service.send_signal(signal.SIGINT)
            service.wait()
    print(f"{len(videos)} videos of {videos.bits} bits; the bare scan of one query: {scan}")
    print(f"decoder and backbone alone: {direct}")
    for name, rows in (("by code", by_code), ("by clip", by_clip)):
        for row in rows:
            print(name, row)
    write_result(
        arguments.name,
        {
            "videos": len(videos),
            "bits": videos.bits,
            "scan": scan,
            "by_code": by_code,
            "by_clip": by_clip,
            "decoder_and_backbone": direct,
            "one_client_by_code_beside_the_scan": round(
                by_code[0]["p50_milliseconds"] / scan["p50_milliseconds"], 2
            ),
            "decoder_and_backbone_beside_clips": round(
                direct["clips_a_second"] / max(row["answers_a_second"] for row in by_clip), 2
            ),
            "machine": machine(),
        },
    )


def await_ready(address: tuple[str, int]) -> None:
    """Wait until the index is loaded."""
    while True:
        connection = http.client.HTTPConnection(*address, timeout=600)
        connection.request("GET", "/ready")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.2)


if __name__ == "__main__":
    main()
