"""Several processes train what one would: real processes, with torch's CPU collectives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from flows.servers.server import free_port
from ssvh_model.training.ranks import ALONE, Ranks
from tests.conftest import REPOSITORY
from tests.ssvh_model.training.together import train


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "wsch"])
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path, preset: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    command += ["-m", "tests.ssvh_model.training.together", str(tmp_path), preset]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

    trainer, rows = train(ALONE, preset)
    assert "p2set" in rows[-1]
    for rank in range(2):
        weights = load_file(tmp_path / f"rank-{rank}.safetensors")
        losses = weights.pop("losses")
        # In float64 nothing is left but the order of additions.
        torch.testing.assert_close(
            losses, torch.tensor([row["loss"] for row in rows], dtype=torch.float64), rtol=0, atol=1e-10
        )
        for name, expected in trainer.model.state_dict().items():
            torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-9, msg=name)


def test_every_row_of_a_batch_belongs_to_one_process() -> None:
    for count in (1, 2, 3, 5):
        for rows in (5, 6, 64, 101):
            parts = [Ranks(own, count).part(rows) for own in range(count)]
            taken = [row for part in parts for row in range(part.start, part.stop)]
            assert taken == list(range(rows))
            sizes = [part.stop - part.start for part in parts]
            assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match="a batch of 2 videos for 3 processes"):
        Ranks(0, 3).part(2)


def test_a_part_of_two_views_is_drawn_as_in_the_whole_batch() -> None:
    from ssvh_model.model.draws import normal, uniform

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(7)

    whole = uniform(10, 3, draws=generator()), normal(10, 3, draws=generator())
    parts = [Ranks(own, 2).part(5) for own in range(2)]
    for own, part in enumerate(parts):
        draws = Ranks(own, 2).draws_for_views(generator(), part, 5)
        rows = [*range(part.start, part.stop), *range(5 + part.start, 5 + part.stop)]
        assert torch.equal(uniform(len(rows), 3, draws=draws), whole[0][rows])
        draws = Ranks(own, 2).draws_for_views(generator(), part, 5)
        assert torch.equal(normal(len(rows), 3, draws=draws), whole[1][rows])
