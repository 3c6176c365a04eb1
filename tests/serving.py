"""A small index of real clips, and `ssvh serve` in front of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from flows.cli.app import app
from ssvh_model.features import FeatureMeta
from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.snapshot import Pointer
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import hasher_digest, load_saved_hasher, save_hasher
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.encoding import write_video
from ssvh_model.video.extraction import decode_for
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher

SECONDS_TO_START = 300.0
SECONDS_TO_ANSWER = 300.0
TOKEN = "a token of the tests"
RATE = 8  # frames a second
BITS = (32, 48)  # of the two hashers
LABELS = ("cats", "dogs")
CARD = "# A hasher of the tests\n\nGood for **nothing**. <script>alert(1)</script>\n"


def moving_picture(seed: int, *, frames: int = 24, side: int = 96) -> np.ndarray:
    """A pattern of coarse squares that moves to the left, [frames, side, side, 3] uint8."""
    rng = np.random.default_rng(seed)
    pattern = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
    return np.stack([np.roll(pattern, -2 * number, axis=1)[:, :side] for number in range(frames)])


@dataclass
class Searchable:
    """A folder with clips, two hashers and an index by the first.

    Attributes:
        folder: of the project; `index` is in it.
        clips: by id.
        hashers: folders, of 32 and 48 bits.
    """

    folder: Path
    clips: dict[str, Path]
    hashers: Sequence[Path]
    _codes: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def index(self) -> Path:
        return self.folder / "index"

    def use(self, number: int, more: dict[str, str] | None = None, *, labelled: bool = True) -> CodedVideos:
        """Replace the index by one of the same clips by a hasher.

        Args:
            number: of the hasher.
            more: ids of videos that are no clips, and what the index says is their path.
            labelled: False for no labels.
        """
        videos = self.coded(number, more or {})
        if not labelled:
            videos = replace(videos, labels=[""] * len(videos))
        index = IndexFolder(self.index)
        with index.alone():
            index.replace(videos, self.hashers[number], IndexSettings(10**6, 8, 4), seed=1, card=CARD)
        return videos

    def coded(self, number: int, more: dict[str, str]) -> CodedVideos:
        """The clips with their codes."""
        folder = self.hashers[number]
        if number not in self._codes:
            encoder = VideoEncoder(*load_saved_hasher(folder))
            self._codes[number] = np.stack([encoder.code(path) for path in self.clips.values()])
        codes = np.concatenate([self._codes[number], self._codes[number][[0] * len(more)]])
        durations = np.array([2.0 + row for row in range(len(codes))], dtype=np.float32)
        return CodedVideos(
            ids=[*self.clips, *more],
            codes=codes,
            labels=[f"{video.partition('/')[0]}|pets" for video in self.clips] + [""] * len(more),
            paths=[
                *(path.relative_to(self.folder).as_posix() for path in self.clips.values()),
                *more.values(),
            ],
            durations=durations,
            spans=whole_spans(durations),
            bits=BITS[number],
            hasher=HasherIdentity("", "", hasher_digest(folder)),
        )


def make_searchable(folder: Path, clips: int = 8) -> Searchable:
    """Clips of two labels, of which `cats/0` and `dogs/3` are the same, and their index."""
    backbone = load_backbone("efficientnet_lite0", size=64, device=torch.device("cpu"))
    made: dict[str, Path] = {}
    features = []
    for number in range(clips):
        video = f"{LABELS[number % 2]}/{number}"
        path = made[video] = folder / "clips" / f"{video}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_picture(0 if number == 3 else number), rate=Fraction(RATE), quality=20)
        features.append(torch.as_tensor(backbone(decode_for(backbone, path, frames=4).frames)))
    meta = FeatureMeta(backbone.name, backbone.weights_sha256, 64)
    hashers = []
    for seed, bits in enumerate(BITS, start=1):
        hashers.append(
            write_hasher(
                folder / f"hasher-{seed}", seed=seed, bits=bits, frames=4, feature_size=1280, meta=meta
            )
        )
        hasher, _ = load_saved_hasher(hashers[-1])
        learn_center(hasher, FrameSource.from_tensor(list(made), torch.stack(features)), batch_size=clips)
        save_hasher(hashers[-1], hasher, meta)
    searchable = Searchable(folder, made, hashers)
    searchable.use(0)
    return searchable


@dataclass
class Server:
    """`ssvh serve` in a process.

    Attributes:
        process: that listens.
        address: where.
        client: that asks it; it has no token.
    """

    process: subprocess.Popen[str]
    address: str
    client: httpx.Client

    def search(self, clip: bytes, **params: Any) -> httpx.Response:
        """Search for a clip."""
        headers = {"Content-Type": "video/mp4"}
        return self.client.post("/search", content=clip, params=params, headers=headers)

    def find(self, question: dict[str, str], **params: Any) -> httpx.Response:
        """Search for an id or a code."""
        return self.client.post("/search", json=question, params=params)

    def await_version(self, index: Path) -> None:
        """Wait until the index as it is now is what answers."""
        pointer = Pointer.read(index)
        wanted = f"{pointer.generation}-{pointer.changes}"
        until = time.monotonic() + SECONDS_TO_ANSWER
        while self.client.get("/index").json()["index"]["version"] != wanted:
            assert time.monotonic() < until
            time.sleep(0.05)

    @property
    def with_token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}


def problem(response: httpx.Response, status: int, name: str) -> str:
    """See that an answer is a problem of this kind; its detail."""
    content = response.json()
    assert (response.status_code, content["type"]) == (status, f"/problems/{name}"), content
    assert response.headers["content-type"] == "application/problem+json"
    assert content["status"] == status and content["title"] and content["detail"]
    return str(content["detail"])


def command_answer(folder: Path, *arguments: str) -> Any:
    """What `ssvh search --json` prints, typed in a folder; without the time that it took."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
        app(["search", *arguments, "--json"], standalone_mode=False)
    return without_time(json.loads(printed.getvalue()))


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer to a search without how long it took, which is never the same."""
    assert answer.pop("seconds") > 0
    return answer


def environment(**more: str) -> dict[str, str]:
    """The variables with which the command is started."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SSVH")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **more}


@contextlib.contextmanager
def serving(
    folder: Path,
    *options: str,
    token: str = TOKEN,
    ssvh: Sequence[str] = (sys.executable, "-m", "flows.cli"),
    variables: Mapping[str, str] | None = None,
    ended_by: signal.Signals = signal.SIGINT,
) -> Iterator[Server]:
    """The service in front of the index of a folder, ready, on a free port; ended with the block.

    Args:
        folder: in which it is started.
        options: of the command.
        token: for changes.
        ssvh: the program.
        variables: of its environment; None for those in which the repository is found.
        ended_by: the signal that it gets at the end of the block.
    """
    log = folder / "serve.log"
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [*ssvh, "serve", "--port", "0", *options],
            cwd=folder,
            env=environment(SSVH_TOKEN=token) if variables is None else {**variables, "SSVH_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        first = next((line for line in process.stdout if line.startswith("search page")), "")
        assert first, log.read_text()
        address = first.split()[-1].rstrip("/")
        with httpx.Client(base_url=address, timeout=SECONDS_TO_ANSWER) as client:
            until = time.monotonic() + SECONDS_TO_START
            while not _ready(client):
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield Server(process, address, client)
        process.send_signal(ended_by)
        process.communicate(timeout=SECONDS_TO_START)
        assert process.returncode == 0, log.read_text()
    finally:
        process.kill()
        process.communicate()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
