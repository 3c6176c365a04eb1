"""Pictures of a study: they are there, whole, and hold each kind of trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssvh_model.pictures.style import BLUE, GREEN, VERMILLION
from ssvh_model.pictures.tuning import ShownTrial, draw_history, draw_importances, draw_slices


def has_colour(path: Path, colour: str) -> bool:
    with Image.open(path) as image:
        assert image.format == "PNG" and 500 < image.width < 2500
        pixels = np.asarray(image.convert("RGB"))
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    # Thin lines are blended with what is under them.
    return bool((np.abs(pixels.astype(int) - wanted).sum(axis=-1) < 90).sum() > 20)


def trials(number: int, *, complete: bool) -> list[ShownTrial]:
    return [
        ShownTrial(
            one,
            0.2 + one / 100,
            complete,
            {"alpha": 0.1 * 2**one, "rounds": one % 3 + 1, "centres": "voting"},
        )
        for one in range(number)
    ]


@pytest.mark.parametrize("number", [1, 12])
def test_history_shows_the_best_so_far_where_trials_are_complete(tmp_path: Path, number: int) -> None:
    draw_history(tmp_path / "complete.png", trials(number, complete=True), value="GMAP", first=0.2, remark="")
    draw_history(tmp_path / "pruned.png", trials(number, complete=False), value="GMAP", first=None, remark="")
    assert has_colour(tmp_path / "complete.png", GREEN) and has_colour(tmp_path / "complete.png", VERMILLION)
    assert not has_colour(tmp_path / "pruned.png", GREEN) and not has_colour(tmp_path / "pruned.png", BLUE)


def test_slices_take_numbers_magnitudes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "slices.png"
    draw_slices(
        path,
        trials(9, complete=True),
        value="GMAP",
        log=["alpha"],
        present={"alpha": 0.2, "centres": "kmeans"},
        remark="nine trials",
    )
    assert has_colour(path, BLUE) and has_colour(path, GREEN)


def test_importances(tmp_path: Path) -> None:
    draw_importances(tmp_path / "importances.png", {"alpha": 0.75, "rounds": 0.25}, remark="")
    assert has_colour(tmp_path / "importances.png", BLUE)
