"""Contact sheets: chosen, planted, right and wrong can be seen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from ssvh_model.pictures.canvas import fitted, font, shortened
from ssvh_model.pictures.frames_sheet import FrameStrip, draw_frames_sheet
from ssvh_model.pictures.neighbours_sheet import Neighbours, ShownHit, draw_neighbours_sheet
from ssvh_model.pictures.style import BLUE, GREEN, VERMILLION


def thumbnails(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(90, 160, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def amount(path: Path, colour: str) -> int:
    """Number of pixels of exactly that colour."""
    with Image.open(path) as image:
        return int((np.asarray(image.convert("RGB")) == ImageColor.getrgb(colour)).all(axis=-1).sum())


def sheet(
    path: Path, count: int = 25, chosen: int = 12, bad: dict[int, str] | None = None, scores: bool = True
) -> Path:
    strip = FrameStrip(
        id="clip",
        label="label",
        thumbnails=thumbnails(count),
        scores=list(np.linspace(0, 1, count)) if scores else None,
        chosen=[index < chosen for index in range(count)],
        bad=bad or {},
    )
    draw_frames_sheet(path, [strip, strip], title="Frames")
    return path


def test_more_chosen_frames_are_more_blue(tmp_path: Path) -> None:
    none = amount(sheet(tmp_path / "0.png", chosen=0, scores=False), BLUE)
    some = amount(sheet(tmp_path / "5.png", chosen=5, scores=False), BLUE)
    more = amount(sheet(tmp_path / "10.png", chosen=10, scores=False), BLUE)
    assert some - none == more - some > 5 * 2 * 500


def test_planted_bad_frames_are_marked(tmp_path: Path) -> None:
    clean = amount(sheet(tmp_path / "clean.png"), VERMILLION)
    one = amount(sheet(tmp_path / "one.png", bad={3: "black"}), VERMILLION)
    two = amount(sheet(tmp_path / "two.png", bad={3: "black", 20: "duplicated"}), VERMILLION)
    assert clean == 0 and one > 800 and two > one + 800


def test_the_kind_of_a_bad_frame_is_written_on_it(tmp_path: Path) -> None:
    black, static = sheet(tmp_path / "b.png", bad={3: "black"}), sheet(tmp_path / "s.png", bad={3: "static"})
    assert black.read_bytes() != static.read_bytes()


@pytest.mark.parametrize("count", [1, 8, 15, 25, 30, 47])
def test_any_number_of_frames_wraps_into_a_readable_sheet(tmp_path: Path, count: int) -> None:
    with Image.open(sheet(tmp_path / "sheet.png", count=count, chosen=count // 2)) as image:
        assert 700 < image.width < 1700 and image.height > 250


def test_strips_of_different_shapes_and_pil_images(tmp_path: Path) -> None:
    tall = [Image.new("L", (20, 60), 128)] * 3
    strips = [
        FrameStrip("tall " * 60, "very long label " * 20, tall, None, [True, False, False], {0: "blurred"}),
        FrameStrip("wide", "", thumbnails(30, 160, 20), None, [False] * 30),
    ]
    draw_frames_sheet(tmp_path / "sheet.png", strips, title="a title that is far too long " * 20)
    assert amount(tmp_path / "sheet.png", BLUE) > 100


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip: 2 choices for 3 frames"):
        FrameStrip("clip", "", thumbnails(3), None, [True, False])
    with pytest.raises(ValueError, match="clip: 1 scores for 3 frames"):
        FrameStrip("clip", "", thumbnails(3), [0.5], [True] * 3)
    with pytest.raises(ValueError, match="no videos"):
        draw_frames_sheet(tmp_path / "sheet.png", [], title="")
    with pytest.raises(ValueError, match="no queries"):
        draw_neighbours_sheet(tmp_path / "sheet.png", [], title="")


def neighbours(path: Path, relevant: list[bool | None]) -> Path:
    images = thumbnails(len(relevant) + 1)
    hits = [
        ShownHit(f"video {index}", "label", images[index], index, verdict)
        for index, verdict in enumerate(relevant)
    ]
    draw_neighbours_sheet(path, [Neighbours("query", "label", images[-1], hits)], title="Neighbours")
    return path


def test_right_and_wrong_differ_in_colour_and_in_symbol(tmp_path: Path) -> None:
    right, wrong = neighbours(tmp_path / "r.png", [True] * 10), neighbours(tmp_path / "w.png", [False] * 10)
    assert amount(right, GREEN) > 10_000 and amount(right, VERMILLION) == 0
    assert amount(wrong, VERMILLION) > 10_000 and amount(wrong, GREEN) == 0
    with Image.open(right) as first, Image.open(wrong) as second:
        shades = [np.asarray(image.convert("RGB"))[:250] for image in (first, second)]
    white = [(shade == 255).all(axis=-1) for shade in shades]
    assert (white[0] != white[1]).sum() > 100  # the tick and the cross, whatever the colour


def test_unknown_relevance_is_neither(tmp_path: Path) -> None:
    unknown = neighbours(tmp_path / "u.png", [None] * 3)
    assert amount(unknown, GREEN) == amount(unknown, VERMILLION) == 0


def test_a_query_without_hits_still_draws(tmp_path: Path) -> None:
    with Image.open(neighbours(tmp_path / "none.png", [])) as image:
        assert image.width > 400


def test_long_texts_are_shortened_in_the_middle() -> None:
    face = font(12)
    text = shortened("a very long name of a clip_0001.mp4", 120, face)
    assert face.getlength(text) <= 120 and text.startswith("a ve") and text.endswith(".mp4") and "…" in text
    assert shortened("two\nlines", 500, face) == "two lines"


def test_fitted_keeps_the_proportions() -> None:
    assert fitted(np.zeros((100, 200, 3), np.uint8), 50).size == (50, 25)
