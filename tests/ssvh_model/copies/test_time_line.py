"""The straight line through two videos' times, against a search frame by frame."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys

import pytest
import torch

from ssvh_model.copies.time_line import (
    LEAST_SHARED,
    LEAST_WEIGHT,
    SPEEDS,
    FrameLikeness,
    best_time_line,
    frame_likeness,
)


@pytest.mark.parametrize(
    ("count", "others", "steps"),
    [
        (16, 16, (0.1, 0.1)),
        (20, 33, (0.2, 0.1)),
        pytest.param(40, 6, (0.8, 0.1), marks=[pytest.mark.slow, pytest.mark.nightly]),
        (6, 40, (0.1, 0.8)),
    ],
)
def test_it_is_the_best_of_all_lines(count: int, others: int, steps: tuple[float, float]) -> None:
    rng = torch.Generator().manual_seed(count)
    likeness = FrameLikeness(*torch.rand(2, count, others, generator=rng))
    line = best_time_line(likeness, first_step=steps[0], second_step=steps[1])
    # Half frames of the second, to where the end of the first meets the second's start.
    farthest = math.ceil(4 * count * steps[0] / steps[1])
    every = [
        naive_worth(likeness, speed * steps[0] / steps[1], offset / 2)
        for speed in SPEEDS
        for offset in range(-farthest, 2 * others + 1)
    ]
    tried = [worth for worth in every if worth > -1]
    assert line.worth == pytest.approx(max(tried), abs=1e-5)
    assert line.mean == pytest.approx(statistics.fmean(tried), abs=1e-4)
    assert line.deviation == pytest.approx(statistics.pstdev(tried), abs=1e-4)
    along = [part[line.first, line.second].sum() for part in (likeness.products, likeness.weights)]
    weight = max(float(along[1]), LEAST_WEIGHT * len(line.first))
    assert float(along[0]) / weight == pytest.approx(line.likeness, abs=1e-5)


def naive_worth(likeness: FrameLikeness, speed: float, offset: float) -> float:
    """Frame by frame."""
    count, others = likeness.products.shape
    along = []
    for row in range(count):
        column = round(float(torch.tensor(row, dtype=torch.float32) * torch.tensor(speed) + offset))
        if 0 <= column < others:
            along.append((float(likeness.products[row, column]), float(likeness.weights[row, column])))
    share = min(1.0, len(along) / min(count, others / speed))
    if share < LEAST_SHARED:
        return -1.0
    products, weights = (sum(part) for part in zip(*along, strict=True))
    return products / max(weights, LEAST_WEIGHT * len(along)) * math.sqrt(share)


def test_a_shift_and_a_speed_are_found() -> None:
    products = torch.zeros(40, 60)
    for row in range(40):
        if (column := round(row * 2 ** (4 / 16) + 7)) < 60:
            products[row, column] = 1.0
    line = best_time_line(FrameLikeness(products, torch.ones(40, 60)), first_step=0.1, second_step=0.1)
    assert line.likeness == pytest.approx(1.0)
    assert line.speed == pytest.approx(2 ** (4 / 16))
    assert line.offset == pytest.approx(0.7)
    assert line.shared == pytest.approx(1.0)


def test_a_line_stands_out_less_where_movement_repeats_itself() -> None:
    rng = torch.Generator().manual_seed(0)
    once = torch.randn(48, 8, 8, generator=rng)
    again = once[:3].repeat(16, 1, 1)
    lines = [
        best_time_line(frame_likeness(video, video), first_step=0.1, second_step=0.1)
        for video in (once, again)
    ]
    assert [line.likeness for line in lines] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert lines[0].distinct > 2 * lines[1].distinct > 0


def test_frames_in_which_nothing_moves_neither_speak_for_a_line_nor_against_it() -> None:
    rng = torch.Generator().manual_seed(0)
    video = torch.randn(20, 8, 8, generator=rng)
    video[5:12] *= 0.01
    alike = best_time_line(frame_likeness(video, video), first_step=0.1, second_step=0.1)
    assert alike.likeness == pytest.approx(1.0, abs=1e-5)
    assert alike.first.tolist() == alike.second.tolist()
    # But where the other video moves there, they do.
    other = video.clone()
    other[5:12] = torch.randn(7, 8, 8, generator=rng)
    assert best_time_line(frame_likeness(video, other), first_step=0.1, second_step=0.1).likeness < 0.8


FILM_AND_CLIP = """
import resource
from pathlib import Path
import torch
from ssvh_model.copies.time_line import FrameLikeness, best_time_line

likeness = FrameLikeness(torch.rand(240, 32), torch.ones(240, 32))
said = Path("/proc/self/status").read_text()
used = 1024 * int(said.split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (used + 1_500_000_000, resource.RLIM_INFINITY))
best_time_line(likeness, first_step=1800 / 240, second_step=4.3 / 32)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's own memory so")
def test_a_film_of_half_an_hour_beside_a_clip_of_seconds_takes_less_than_a_gigabyte_and_a_half() -> None:
    ended = subprocess.run([sys.executable, "-c", FILM_AND_CLIP], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
