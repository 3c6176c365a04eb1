"""Inputs by number, the same for the same seed, and the corpus of those that once failed."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import h5py
import numpy as np
import torch

from tests.fuzz.mutations import mutate
from tests.fuzz.readers import SECRET
from tests.fuzz.seeds import make_seeds

FAILED = Path(__file__).parent / "failed"
MANY = 0.1  # share of the inputs of several files in which two are damaged
NAMES = 0.03  # share of the inputs in which a file is gone, empty, or another kind of thing
SECONDS_TO_MAKE = 20
AT_ONCE = 50  # inputs that are made before the first of them is read
LARGEST = 2**20  # bytes of an input that is kept


class Inputs:
    """The inputs of one kind.

    Args:
        kind: of inputs.
        seed: of all chance.
        work: a folder; seeds are made in `work/seeds`, inputs in `work/inputs`, and `work/outside` is where
            they may try to lead.
    """

    def __init__(self, kind: str, seed: int, work: Path) -> None:
        self.kind, self.seed = kind, seed
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        seeds = work / "seeds" / kind
        if not seeds.is_dir():
            make_seeds(kind, seeds)
        self._seeds = sorted(seeds.iterdir())
        make_outside(work / "outside")

    def make(self, number: int) -> tuple[Path, str]:
        """The folder of an input, and what was done to it. Those before it are no longer there."""
        return next(self.each([number]))

    def each(self, numbers: Sequence[int]) -> Iterator[tuple[Path, str]]:
        """The same for many; a folder is there until the next one is asked for."""
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE]
            self._clear()
            for place, number in enumerate(some):
                said = self._said(number)
                if not said.is_file():
                    self._make_in_a_process(some[place:], structured=True)
                if not said.is_file():  # it was brought down by the first of them
                    self._make_in_a_process([number], structured=False)
                yield self._folder(number), said.read_text()
                shutil.rmtree(self._folder(number), ignore_errors=True)

    def _make_in_a_process(self, numbers: Sequence[int], *, structured: bool) -> None:
        """Make inputs in a process of its own, because libraries that write files may be brought down by
        their own damage.
        """
        if (child := os.fork()) != 0:
            os.waitpid(child, 0)
            return
        try:
            # Of the threads that torch has here there are none in a fork, where it would wait for them for
            # ever; and the alarm has to end this process whoever has taken it before.
            torch.set_num_threads(1)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.chdir(self._work)  # relative paths that damage puts into a file must not mean the project's
            for number in numbers:
                signal.alarm(SECONDS_TO_MAKE)
                shutil.rmtree(self._folder(number), ignore_errors=True)
                done = self._damage(number, self._folder(number), structured)
                self._said(number).write_text(done)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)

    def _damage(self, number: int, folder: Path, structured: bool) -> str:
        rng = Random(f"{self.seed} {self.kind} {number}")
        shutil.copytree(rng.choice(self._seeds), folder)
        done = []
        for _ in range(2 if rng.random() < MANY else 1):
            if not (files := _files(folder)):
                break  # the only one is gone
            path = rng.choice(files)
            relative = path.relative_to(folder)
            if rng.random() < NAMES:
                done.append(f"{relative}: {_other_thing(path, rng)}")
                continue
            others = [one for seed in self._seeds for one in _files(seed) if one.suffix == path.suffix]
            done.append(f"{relative}: {mutate(path, others, rng, structured=structured)}")
        return "; ".join(done)

    def unpack(self, archive: Path) -> Path:
        """The folder of a kept input."""
        self._clear()
        folder = self._folder(0)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        return folder

    def _clear(self) -> None:
        for name in ("inputs", "said"):
            shutil.rmtree(self._work / name, ignore_errors=True)
            (self._work / name).mkdir()

    def _folder(self, number: int) -> Path:
        return self._work / "inputs" / f"{self.kind.replace(' ', '-')}-{number}"

    def _said(self, number: int) -> Path:
        return self._work / "said" / str(number)


def _files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if (folder / "labels.csv").is_file():  # its clips are there to be found
        return [folder / "labels.csv"]
    # A preset is the input four times out of five.
    return [path for path in files for _ in range(4 if path.parent.name == "presets" else 1)]


def _other_thing(path: Path, rng: Random) -> str:
    kind = rng.choice(
        ("gone", "empty", "a folder", "a link out", "a link to itself", "a pipe", "not readable")
    )
    if kind == "not readable":
        path.chmod(0)
        return kind
    path.unlink()
    if kind == "empty":
        path.touch()
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link out":
        path.symlink_to("../../outside/secret.h5")
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    elif kind == "a pipe":
        os.mkfifo(path)
    return kind


def make_outside(folder: Path) -> None:
    """What inputs may try to lead to: a file with data sets of every name, and a pipe, on which a reader
    would wait for ever.
    """
    if folder.is_dir():
        return
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with h5py.File(folder / "secret.h5", "w") as file:
        for name in ("ids", "labels", "fine_labels", "splits", "groups", "paths"):
            file.create_dataset(
                name, data=np.array([SECRET] * 5, dtype=object), dtype=h5py.string_dtype("utf-8")
            )
        file["features"] = np.zeros((5, 4, 6), dtype=np.float16)
        file["codes"] = np.zeros((5, 2), dtype=np.uint8)


def packed(folder: Path) -> bytes:
    """An input's files as a zip archive, the same bytes for the same files; links, pipes and folders are left
    out.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                archive.writestr(
                    zipfile.ZipInfo(path.relative_to(folder).as_posix()),
                    path.read_bytes(),
                    zipfile.ZIP_DEFLATED,
                )
    return out.getvalue()


def keep(kind: str, content: bytes) -> Path | None:
    """Put an input that failed into the corpus, unless it is large; where it is now."""
    if len(content) > LARGEST:
        return None
    path = FAILED / kind.replace(" ", "-") / f"{hashlib.sha256(content).hexdigest()[:16]}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kept(kind: str) -> Iterator[Path]:
    """The inputs of a kind that once failed."""
    yield from sorted((FAILED / kind.replace(" ", "-")).glob("*.zip"))
