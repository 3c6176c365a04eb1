"""Whole evaluations: codes and features, self-matches, missing labels, and chunks."""

import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.retrieval import evaluation
from ssvh_model.retrieval.evaluation import evaluate_codes, evaluate_features, why_not_measurable
from ssvh_model.retrieval.gmap import MAP_KS, gmap


def separable(
    videos: int, classes: int, bits: int = 16
) -> tuple[np.ndarray, list[tuple[str, ...]], list[str]]:
    """Codes that tell the classes apart without fault."""
    prototypes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (classes, bits))
    label = np.arange(videos) % classes
    return (
        prototypes[label],
        [(f"class {index}",) for index in label],
        [f"video {index}" for index in range(videos)],
    )


def test_perfect_codes() -> None:
    codes, labels, ids = separable(400, 4)
    result = evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=False)
    assert result.map_at_k == dict.fromkeys(MAP_KS, pytest.approx(1.0))
    assert result.gmap == pytest.approx(1.0)
    assert (result.n_query, result.n_database, result.queries_without_relevant) == (400, 400, 0)
    without = evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=True)
    assert without.map_at_k[100] == pytest.approx(0.99)
    assert without.map_at_k_standard[100] == pytest.approx(1.0)


def test_self_matches_flatter_useless_codes() -> None:
    generator = np.random.default_rng(0)
    codes = generator.choice(np.array([-1, 1], dtype=np.int8), (120, 64))
    labels = [(str(index),) for index in range(120)]
    ids = [str(index) for index in range(120)]
    kept = evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=False)
    left_out = evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=True)
    assert kept.map_at_k[5] == pytest.approx(1 / 5) and left_out.map_at_k[5] == 0
    assert left_out.gmap == 0 and left_out.queries_without_relevant == 120


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    codes = generator.choice(np.array([-1, 1], dtype=np.int8), (70, 24))
    features = generator.standard_normal((70, 12)).astype(np.float32)
    labels = [(str(index % 7),) for index in range(70)]
    ids = [str(index) for index in range(70)]
    seen: list[tuple[int, int]] = []

    def both() -> tuple[evaluation.Retrieval, evaluation.Retrieval]:
        return (
            evaluate_codes(
                codes,
                codes,
                labels,
                labels,
                ids,
                ids,
                exclude_self=True,
                progress=lambda *now: seen.append(now),
            ),
            evaluate_features(features, features, labels, labels, ids, ids, exclude_self=True),
        )

    whole = both()
    monkeypatch.setattr(evaluation, "PAIRS_AT_ONCE", 1000)
    monkeypatch.setattr(evaluation, "QUERIES_AT_ONCE", 14)
    seen.clear()
    parts = both()
    assert seen == [(14, 70), (28, 70), (42, 70), (56, 70), (70, 70)]
    for one, other in zip(whole, parts, strict=True):
        assert one.map_at_k == pytest.approx(other.map_at_k, abs=1e-12)
    assert whole[0].precision_recall is not None and parts[0].precision_recall is not None
    np.testing.assert_allclose(whole[0].precision_recall.recall, parts[0].precision_recall.recall)


def test_features_rank_by_cosine_and_not_by_length() -> None:
    database = np.array([[100, 1], [1, 1], [-1, 0], [0, 0]], dtype=np.float32)
    query = np.array([[1, 1]], dtype=np.float32)
    labels = [("no",), ("yes",), ("no",), ("no",)]
    result = evaluate_features(query, database, [("yes",)], labels, ["q"], list("abcd"), exclude_self=True)
    assert result.map_at_k_standard[5] == pytest.approx(1.0)
    assert result.precision_recall is None


def test_features_of_one_direction_tie_whatever_float32_makes_of_their_length() -> None:
    direction = np.random.default_rng(0).standard_normal((1, 1280))
    database = (direction * np.linspace(0.1, 7, 40)[:, None]).astype(np.float32)
    same_codes = np.ones((40, 8), dtype=np.int8)
    labels = [("right" if index % 8 == 0 else "wrong",) for index in range(40)]
    ids = [str(index) for index in range(40)]
    arguments = ([("right",)] * 40, labels, [f"q{index}" for index in range(40)], ids)
    by_features = evaluate_features(database, database, *arguments, exclude_self=True)
    all_tied = evaluate_codes(same_codes, same_codes, *arguments, exclude_self=True)
    assert by_features.map_at_k == pytest.approx(all_tied.map_at_k, abs=1e-12)


def test_unlabelled_queries_are_left_out_and_counted() -> None:
    codes, labels, ids = separable(40, 4)
    some: list[tuple[str, ...]] = [(), *labels[1:]]
    result = evaluate_codes(codes, codes, some, some, ids, ids, exclude_self=True)
    assert (result.n_query, result.queries_without_label, result.database_without_label) == (39, 1, 1)
    assert result.map_at_k_standard[5] < 1  # the unlabelled video stands in the way of its own class


def test_average_precision_of_single_queries_averages_to_the_figures() -> None:
    generator = np.random.default_rng(3)
    codes = generator.choice(np.array([-1, 1], dtype=np.int8), (50, 24))
    labels: list[tuple[str, ...]] = [(), *[(str(index % 5),) for index in range(49)]]
    ids = [str(index) for index in range(50)]
    result = evaluate_codes(codes, codes, labels, labels, ids, ids, exclude_self=True)
    assert result.average_precision.shape == (49, len(MAP_KS))
    np.testing.assert_allclose(result.average_precision.mean(axis=0), list(result.map_at_k.values()))
    one = evaluate_codes(codes[7:8], codes, labels[7:8], labels, ids[7:8], ids, exclude_self=True)
    np.testing.assert_allclose(result.average_precision[6], one.average_precision[0])


def test_no_labels_say_why() -> None:
    codes = np.ones((2, 4), dtype=np.int8)
    assert "no query video has a label" in str(why_not_measurable([(), ()], [("a",), ()]))
    assert "no database video has a label" in str(why_not_measurable([("a",)], [()]))
    assert "no query videos" in str(why_not_measurable([], [("a",)]))
    assert "no database videos" in str(why_not_measurable([("a",)], []))
    assert why_not_measurable([("a",), ()], [("b",)]) is None
    with pytest.raises(UserError, match="no query video has a label"):
        evaluate_codes(codes, codes, [(), ()], [(), ()], ["a", "b"], ["a", "b"], exclude_self=True)


def test_lengths_and_values_are_checked() -> None:
    codes = np.ones((2, 4), dtype=np.int8)
    labels = [("a",), ("a",)]
    with pytest.raises(ValueError, match="1 query ids for 2 videos"):
        evaluate_codes(codes, codes, labels, labels, ["a"], ["a", "b"], exclude_self=True)
    with pytest.raises(ValueError, match="query codes have 3 bits, database codes 4"):
        evaluate_codes(codes[:, :3], codes, labels, labels, ["a", "b"], ["a", "b"], exclude_self=True)
    with pytest.raises(UserError, match="not a number"):
        evaluate_features(
            np.full((2, 3), np.nan),
            np.ones((2, 3)),
            labels,
            labels,
            ["a", "b"],
            ["a", "b"],
            exclude_self=True,
        )


def test_gmap_is_the_geometric_mean() -> None:
    values = dict(zip(MAP_KS, (0.5, 0.4, 0.3, 0.2, 0.1, 0.05), strict=True))
    assert gmap(values) == pytest.approx(np.prod(list(values.values())) ** (1 / 6))
    assert gmap({**values, 100: 0.0}) == 0
    with pytest.raises(KeyError):
        gmap({5: 0.1})
