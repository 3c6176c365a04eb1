"""Everything that is read, damaged: the inputs that once failed, and some new ones. `make fuzz` does the same
with many.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.fuzz.campaign import Counts, fuzz
from tests.fuzz.inputs import Inputs, packed
from tests.fuzz.process import Reader
from tests.fuzz.readers import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NEW = 24
NEW_OF_SLOW = 8
SLOW = ("mat", "preset", "state", "index")

SEED = time.time_ns() % 1_000_000  # a failure names it


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def reader(work: Path) -> Iterator[Reader]:
    with Reader(KINDS, work / "desk") as started:
        yield started


def run(kind: str, reader: Reader, work: Path, *, new: int, seed: int) -> Counts:
    return fuzz(kind, reader, work, numbers=range(new), seed=seed, keep_failed=False, progress=lambda _: None)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_are_read_or_refused_in_a_line(kind: str, reader: Reader, work: Path) -> None:
    new = NEW_OF_SLOW if kind in SLOW else NEW
    counts = run(kind, reader, work, new=new, seed=SEED)
    assert not counts.failures, "\n".join(map(str, counts.failures))
    assert counts.inputs >= new


@pytest.mark.parametrize("kind", ["manifest", "codes", "hasher"])
def test_a_seed_and_a_number_give_the_same_input_again(kind: str, tmp_path: Path) -> None:
    once, again = (Inputs(kind, 7, tmp_path / place) for place in ("once", "again"))
    made = [[packed(inputs.make(number)[0]) for number in (3, 4, 5)] for inputs in (once, again)]
    assert made[0] == made[1]
    assert len(set(made[0])) == 3


def test_inputs_are_made_also_where_threads_have_been_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fork has none of the threads that its parent's torch goes on to count on.
    def damage(self: Inputs, number: int, folder: Path, structured: bool) -> str:
        folder.mkdir(parents=True)
        return str(float(torch.full((4_000_000,), 1.0).sum()))

    monkeypatch.setattr(Inputs, "_damage", damage)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert float(torch.full((4_000_000,), 1.0).sum()) == 4_000_000
        assert Inputs("labels", 1, tmp_path).make(0)[1] == "4000000.0"
    finally:
        torch.set_num_threads(threads)
