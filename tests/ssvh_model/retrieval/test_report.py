"""The record of an evaluation: exact names, yardsticks on real features, and what can't be measured."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.retrieval.video_set import VideoSet


def made_up(videos: int, size: int, bits: int, *, labelled: bool = True, start: int = 0) -> VideoSet:
    generator = np.random.default_rng(start)
    index = np.arange(start, start + videos)
    return VideoSet(
        ids=[f"v{i}" for i in index],
        labels=[(f"c{i % 3}",) if labelled else () for i in index],
        fine_labels=[(f"c{i % 3}/{i % 6}",) if labelled else () for i in index],
        codes=generator.choice(np.array([-1, 1], dtype=np.int8), (videos, bits)),
        features=generator.standard_normal((videos, size)).astype(np.float32),
    )


def test_names_that_other_scripts_rely_on() -> None:
    seen: list[tuple[int, int]] = []
    database = made_up(60, 20, 8)
    record = evaluate_hasher(
        made_up(15, 20, 8, start=60),
        database,
        train_features=database.features,
        exclude_self=True,
        itq_seed=0,
        progress=lambda *now: seen.append(now),
    ).record()
    record = json.loads(json.dumps(record, allow_nan=False))
    ks = ["5", "20", "40", "60", "80", "100"]
    for part in (record, record["fine"], record["yardsticks"]["float"], record["yardsticks"]["itq"]):
        assert part["gmap"] > 0
        assert list(part["map_at_k"]) == ks and list(part["map_at_k_standard"]) == ks
    assert (record["bits"], record["n_query"], record["n_database"]) == (8, 15, 60)
    assert record["fine"]["yardsticks"]["itq"]["gmap"] < record["yardsticks"]["itq"]["gmap"]
    assert record["code_statistics"]["codes"] == 60
    done = [part for part, _ in seen]
    assert done == sorted(done) and seen[-1] == (90, 90)


def test_without_labels_it_says_what_cannot_be_measured() -> None:
    database = made_up(40, 20, 8, labelled=False)
    query = made_up(5, 20, 8, labelled=False, start=50)
    record = evaluate_hasher(
        query, database, train_features=database.features, exclude_self=True, itq_seed=0
    ).record()
    assert record["gmap"] is None and record["map_at_k"] is None and record["fine"] is None
    assert record["yardsticks"]["float"]["gmap"] is None
    assert "no query video has a label" in record["reasons"]["gmap"]
    assert (record["n_query"], record["n_database"]) == (5, 40)
    assert record["code_statistics"]["distinct_codes"] > 1
    json.dumps(record, allow_nan=False)


def test_itq_that_cannot_be_trained_is_left_out_with_a_reason() -> None:
    database, query = made_up(40, 20, 8), made_up(5, 20, 8, start=50)
    record = evaluate_hasher(
        query, database, train_features=database.features[:1], exclude_self=True, itq_seed=0
    ).record()
    assert record["yardsticks"]["itq"]["gmap"] is None
    assert "at least 2 training videos; there are 1" in record["reasons"]["yardsticks.itq"]
    assert record["gmap"] is not None and record["yardsticks"]["float"]["gmap"] is not None


@pytest.mark.parametrize(("size", "train"), [(6, 40), (20, 8)])
def test_itq_has_a_figure_with_fewer_directions_than_bits(size: int, train: int) -> None:
    database, query = made_up(40, size, 8), made_up(5, size, 8, start=50)
    record = evaluate_hasher(
        query, database, train_features=database.features[:train], exclude_self=True, itq_seed=0
    ).record()
    assert record["yardsticks"]["itq"]["gmap"] > 0


def test_features_that_are_no_numbers_are_refused_by_name() -> None:
    database, query = made_up(40, 20, 8), made_up(5, 20, 8, start=50)
    damaged = database.features.copy()
    damaged[3, 4] = np.nan
    with pytest.raises(UserError, match="training features: infinite or not a number"):
        evaluate_hasher(query, database, train_features=damaged, exclude_self=True, itq_seed=0)


@pytest.mark.parametrize(("bits", "itq"), [(16, 0.0587), (32, 0.0776), (64, 0.0799)])
def test_yardsticks_on_webcam_clips(shared: Path, bits: int, itq: float) -> None:
    """GMAP on features of real clips, 464 of them training set and database, 232 queries; ITQ depends on its
    first rotation.
    """
    with h5py.File(shared / "data" / "asl_efficientnet_lite0.h5") as file:
        features = file["features"][:].astype(np.float32).mean(axis=1)
        is_query, labels, clips = file["is_query"][:], file["labels"][:], file["clip"][:].astype(str)

    def side(rows: np.ndarray) -> VideoSet:
        return VideoSet(
            ids=list(clips[rows]),
            labels=[(str(label),) for label in labels[rows]],
            fine_labels=[() for _ in range(rows.sum())],
            codes=np.ones((rows.sum(), bits), dtype=np.int8),
            features=features[rows],
        )

    record = evaluate_hasher(
        side(is_query), side(~is_query), train_features=features[~is_query], exclude_self=True, itq_seed=0
    ).record()
    assert record["yardsticks"]["float"]["gmap"] == pytest.approx(0.0977, abs=1e-3)
    assert record["yardsticks"]["itq"]["gmap"] == pytest.approx(itq, rel=0.15)
    # Codes that are all the same say nothing: 16 relevant among 464.
    assert 0 < record["gmap"] < 0.01
    assert record["code_statistics"]["distinct_codes"] == 1
