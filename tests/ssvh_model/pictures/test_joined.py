from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssvh_model.pictures.joined import join_pictures


def test_pictures_stand_in_rows_and_fill_their_columns(tmp_path: Path) -> None:
    colours = {"red": (50, 20), "green": (200, 200), "blue": (10, 5)}
    for colour, size in colours.items():
        Image.new("RGB", size, colour).save(tmp_path / f"{colour}.png")
    paths = [tmp_path / f"{colour}.png" for colour in colours]
    joined = Image.open(io.BytesIO(join_pictures(paths, columns=2, width=120)))
    assert joined.format == "JPEG"
    assert joined.size == (120, 60 + 30), "the rows are as high as their highest picture"
    pixels = np.asarray(joined).astype(int)
    for (row, column), colour in {
        (12, 30): (255, 0, 0),
        (40, 30): (255, 255, 255),
        (30, 90): (0, 128, 0),
        (75, 30): (0, 0, 255),
        (75, 90): (255, 255, 255),
    }.items():
        assert np.abs(pixels[row, column] - colour).max() < 12, (row, column)


def test_nothing_to_join_is_refused() -> None:
    with pytest.raises(ValueError, match="0 pictures"):
        join_pictures([], columns=1, width=10)
