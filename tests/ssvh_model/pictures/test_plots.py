"""Curves and plots: they are there, whole, and show what differs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssvh_model.pictures.bits import draw_bits
from ssvh_model.pictures.curves import draw_curves
from ssvh_model.pictures.map_at_k import draw_map_at_k
from ssvh_model.pictures.precision_recall import draw_precision_recall
from ssvh_model.pictures.style import VERMILLION
from ssvh_model.retrieval.bits import bit_statistics
from ssvh_model.retrieval.evaluation import Retrieval, evaluate_codes
from ssvh_model.training.selection import WaysToSelect, select_state


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 500 < image.width < 2500 and 250 < image.height < 2500
        return np.asarray(image.convert("RGB"))


def has_colour(image: np.ndarray, colour: str) -> bool:
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((image == wanted).all(axis=-1).sum() > 20)


def rows(epochs: int) -> list[dict[str, object]]:
    return [
        {
            "epoch": epoch + 1,
            "phase": "warmup" if epoch < 4 else "round-1",
            "loss": 1 / (epoch + 1),
            "reconstruction": 0.5,
            **({"p2set": 3.0 - epoch * 0.1} if epoch >= 4 else {}),
            **({"validation_gmap": 0.05 + epoch * 0.01} if epoch % 2 else {}),
        }
        for epoch in range(epochs)
    ]


@pytest.fixture(scope="module")
def retrieval() -> Retrieval:
    codes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (60, 12))
    labels, ids = [(str(index % 4),) for index in range(60)], [str(index) for index in range(60)]
    return evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=True)


@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_curves_of_one_epoch_or_many(tmp_path: Path, epochs: int) -> None:
    draw_curves(tmp_path / "curves.png", rows(epochs))
    assert pixels(tmp_path / "curves.png").std() > 1


def test_curves_have_a_panel_only_for_what_has_numbers(tmp_path: Path) -> None:
    draw_curves(tmp_path / "all.png", rows(9))
    draw_curves(tmp_path / "one.png", rows(9), columns=["loss", "never logged"])
    assert pixels(tmp_path / "one.png").shape[1] < pixels(tmp_path / "all.png").shape[1]


def test_curves_bear_what_is_not_finite_and_epochs_that_begin_anew(tmp_path: Path) -> None:
    damaged = rows(9)
    damaged[3]["loss"] = float("nan")
    damaged[4]["loss"] = float("inf")
    damaged[5]["loss"] = None
    draw_curves(tmp_path / "damaged.png", damaged)
    for index, row in enumerate(damaged):
        row["epoch"] = index % 4
    draw_curves(tmp_path / "anew.png", damaged)
    assert pixels(tmp_path / "damaged.png").shape == pixels(tmp_path / "anew.png").shape


def test_curves_show_the_start_beside_what_was_selected(tmp_path: Path) -> None:
    history = rows(9)
    history[0]["start_validation_gmap"] = 0.2
    draw_curves(tmp_path / "plain.png", history, columns=["loss", "validation_gmap"])
    ways: tuple[WaysToSelect, ...] = ("labels", "end")
    for way in ways:
        selection = select_state([*history[:8]], way)
        draw_curves(
            tmp_path / f"{way}.png", history, columns=["loss", "validation_gmap"], selection=selection
        )
    plain, marked, end = (pixels(tmp_path / f"{name}.png") for name in ("plain", "labels", "end"))
    # The panels begin below the heading, which names the state that was selected.
    panels = plain.shape[0] // 4
    assert (plain[panels:] != marked[panels:]).any(), "the start's value"
    assert (plain[panels:] == end[panels:]).all(), "nothing was compared"
    assert (plain[:panels] != end[:panels]).any()


def test_curves_need_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epochs"):
        draw_curves(tmp_path / "none.png", [])
    assert not list(tmp_path.iterdir())


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    draw_curves(tmp_path / "a.png", rows(5))
    draw_curves(tmp_path / "b.png", rows(5))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_map_at_k_with_and_without_yardsticks(tmp_path: Path, retrieval: Retrieval) -> None:
    draw_map_at_k(tmp_path / "alone.png", {"hasher": retrieval}, bits=12)
    draw_map_at_k(tmp_path / "both.png", {"hasher": retrieval, "float": retrieval, "itq": retrieval}, bits=12)
    assert (pixels(tmp_path / "alone.png") != pixels(tmp_path / "both.png")).any()


def test_precision_recall(tmp_path: Path, retrieval: Retrieval) -> None:
    assert retrieval.precision_recall is not None
    draw_precision_recall(tmp_path / "curve.png", {"hasher": retrieval.precision_recall}, bits=12)
    assert pixels(tmp_path / "curve.png").std() > 1


def test_bits_show_constant_ones(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (60, 12))
    draw_bits(tmp_path / "good.png", bit_statistics(codes), n_codes=60)
    codes[:, 3] = 1
    draw_bits(tmp_path / "constant.png", bit_statistics(codes), n_codes=60)
    assert has_colour(pixels(tmp_path / "constant.png"), VERMILLION)
    assert not has_colour(pixels(tmp_path / "good.png"), VERMILLION)


@pytest.mark.parametrize("bits", [1, 256])
def test_bits_of_any_number(tmp_path: Path, bits: int) -> None:
    codes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (20, bits))
    draw_bits(tmp_path / "bits.png", bit_statistics(codes), n_codes=20)
    assert pixels(tmp_path / "bits.png").std() > 1
