from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvh_model.corpus.splits import SplitSpec, assign_splits
from ssvh_model.errors import UserError
from ssvh_model.manifest import SPLITS, Video


def spec(
    validation: float = 0.1,
    database: float = 0.3,
    query: float = 0.1,
    validation_groups: tuple[str, ...] = (),
    query_groups: tuple[str, ...] = (),
) -> SplitSpec:
    return SplitSpec(validation, database, query, validation_groups, query_groups)


def corpus(videos: int, classes: int, group_size: int = 0) -> list[Video]:
    return [
        Video(
            id=f"v{n}",
            path=f"v{n}.mp4",
            labels=(f"c{n % classes}",),
            group=f"g{n // group_size}" if group_size else "",
        )
        for n in range(videos)
    ]


@st.composite
def corpora(draw: st.DrawFn) -> list[Video]:
    count = draw(st.integers(4, 60))
    labels = st.lists(st.sampled_from("abcd"), max_size=2, unique=True)
    groups = st.sampled_from(["", "", "g1", "g2", "g3", "g4", "g5"])
    rows = draw(st.lists(st.tuples(labels, groups, st.booleans()), min_size=count, max_size=count))
    return [
        Video(id=str(n), path=f"{n}.mp4", labels=tuple(labels), group=group)
        if good or n < 3
        else Video(id=str(n), path=f"{n}.mp4", group=group).left_out("damaged")
        for n, (labels, group, good) in enumerate(rows)
    ]


shares = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3])


@settings(max_examples=150)
@given(corpora(), shares, shares, shares, st.integers(0, 5))
def test_groups_stay_together_whatever_the_corpus(
    videos: list[Video], validation: float, database: float, query: float, seed: int
) -> None:
    result = assign_splits(videos, spec(validation, database, query), seed=seed)
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for before, after in zip(videos, result, strict=True):
        assert replace(after, split="") == replace(before, split="")
        if after.usable:
            assert after.split in SPLITS
            sides[after.group or after.id].add(after.split)
        else:
            assert after.split == ""
    assert all(len(side) == 1 for side in sides.values())
    used = Counter(video.split for video in result if video.usable)
    wanted = {"train": 1.0, "validation": validation, "database": database, "query": query}
    assert all(wanted[split] for split in used)
    if len(sides) >= 4:
        assert all(used[split] for split, share in wanted.items() if share)


@pytest.mark.parametrize("videos", [1, 2, 3])
def test_few_videos_are_for_training_first(videos: int) -> None:
    for seed in range(20):
        used = Counter(
            video.split for video in assign_splits(corpus(videos, 1), spec(0.2, 0.3, 0.3), seed=seed)
        )
        assert used["train"] >= 1


@settings(max_examples=40)
@given(corpora(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(videos: list[Video], seed: int, order: random.Random) -> None:
    expected = {video.id: video.split for video in assign_splits(videos, spec(), seed=seed)}
    shuffled = list(videos)
    order.shuffle(shuffled)
    assert {video.id: video.split for video in assign_splits(shuffled, spec(), seed=seed)} == expected


@settings(max_examples=60)
@given(
    st.integers(20, 300),
    st.integers(1, 40),
    st.sampled_from([0, 1, 2, 5]),
    shares,
    shares,
    shares,
    st.integers(0, 9),
)
def test_shares_are_met(
    videos: int, classes: int, group_size: int, validation: float, database: float, query: float, seed: int
) -> None:
    chosen = spec(validation, database, query)
    result = assign_splits(corpus(videos, classes, group_size), chosen, seed=seed)
    counts = Counter(video.split for video in result)
    tolerance = 1.5 * max(1, group_size) + 1
    for split in ("validation", "database", "query"):
        assert abs(counts[split] - getattr(chosen, split) * videos) <= tolerance


def test_every_label_is_spread_by_the_shares() -> None:
    result = assign_splits(corpus(600, 12), spec(), seed=4)
    per_label = Counter((video.labels[0], video.split) for video in result)
    for label in {video.labels[0] for video in result}:
        assert abs(per_label[label, "train"] - 25) <= 2
        assert abs(per_label[label, "database"] - 15) <= 2
        assert abs(per_label[label, "query"] - 5) <= 2
        assert abs(per_label[label, "validation"] - 5) <= 2


def test_groups_of_one_label_are_spread_over_both_sides() -> None:
    videos = [
        Video(id=f"{label}{n}", path=f"{label}{n}.mp4", labels=(label,), group=f"{label}-{n // 4}")
        for label in "abcdef"
        for n in range(16)
    ]
    result = assign_splits(videos, spec(validation=0, database=0, query=0.25), seed=0)
    queries = Counter(video.labels[0] for video in result if video.split == "query")
    assert queries == Counter({label: 4 for label in "abcdef"})


def test_seeds_differ_and_one_seed_repeats() -> None:
    videos = corpus(100, 5)
    assert assign_splits(videos, spec(), seed=1) == assign_splits(videos, spec(), seed=1)
    assert assign_splits(videos, spec(), seed=1) != assign_splits(videos, spec(), seed=2)


def test_named_groups_win() -> None:
    result = assign_splits(
        corpus(100, 5, group_size=10),
        spec(0.1, 0, 0, validation_groups=("g3",), query_groups=("g7", "g1")),
        seed=0,
    )
    sides = {video.group: video.split for video in result}
    assert sides.pop("g3") == "validation" and sides.pop("g7") == "query" and sides.pop("g1") == "query"
    assert set(sides.values()) == {"train"}  # validation has its tenth by name, and queries have no share


def test_given_splits_are_kept_and_the_rest_is_shared_out() -> None:
    videos = [replace(v, split="query") if n < 40 else v for n, v in enumerate(corpus(100, 5))]
    result = assign_splits(videos, spec(0.1, 0.2, 0.1), seed=0)
    assert [v.split for v in result[:40]] == ["query"] * 40
    rest = Counter(v.split for v in result[40:])
    # 60 are left for shares of 0.6, 0.1 and 0.2
    assert "query" not in rest
    for split, expected in {"train": 40, "validation": 60 / 9, "database": 120 / 9}.items():
        assert abs(rest[split] - expected) <= 2


def test_a_group_follows_the_split_that_one_of_its_videos_has() -> None:
    videos = corpus(40, 4, group_size=4)
    videos[5] = replace(videos[5], split="database")
    result = assign_splits(videos, spec(), seed=0)
    assert {video.split for video in result if video.group == "g1"} == {"database"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": -0.1}, r"corpus\.split\.validation: -0\.1"),
        ({"query": 1.0}, r"corpus\.split\.query: 1\.0"),
        ({"database": float("nan")}, r"corpus\.split\.database: nan"),
        ({"database": 0.8, "query": 0.2, "validation": 0.0}, r"1 together; it must be below 1"),
        (
            {"validation_groups": ("a", "b"), "query_groups": ("b",)},
            r"query_groups: 'b' is in validation_groups too",
        ),
    ],
)
def test_impossible_shares_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        spec(**changes)  # type: ignore[arg-type]


def test_a_group_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(
        UserError, match=r"corpus\.split\.query_groups: there is no group 'x'; there are g0, g1$"
    ):
        assign_splits(corpus(8, 2, group_size=4), spec(query_groups=("x",)), seed=0)
    with pytest.raises(UserError, match="no groups at all"):
        assign_splits(corpus(8, 2), spec(validation_groups=("x",)), seed=0)


def test_contradicting_splits_are_named() -> None:
    videos = corpus(8, 2, group_size=4)
    videos[0], videos[1] = replace(videos[0], split="train"), replace(videos[1], split="query")
    with pytest.raises(UserError, match="group 'g0' have the splits query and train"):
        assign_splits(videos, spec(), seed=0)
    videos[0] = replace(videos[0], split="query")
    with pytest.raises(UserError, match=r"validation_groups: 'g0' is already in query"):
        assign_splits(videos, spec(validation_groups=("g0",)), seed=0)


def test_nothing_left_for_training_is_an_error() -> None:
    with pytest.raises(UserError, match="no video is left for training"):
        assign_splits(
            corpus(8, 2, group_size=4), spec(query_groups=("g0",), validation_groups=("g1",)), seed=0
        )


def test_files_of_the_same_content_are_on_one_side() -> None:
    """Whatever their names; only who has said otherwise has it otherwise."""
    videos = [replace(video, sha256=f"{number // 2:064x}") for number, video in enumerate(corpus(80, 4))]
    sides = [video.split for video in assign_splits(videos, spec(0.2, 0.2, 0.2), seed=3)]
    assert sides[::2] == sides[1::2] and set(sides) == set(SPLITS)
    distinct = [replace(video, sha256=f"{number:064x}") for number, video in enumerate(corpus(80, 4))]
    without = [replace(video, sha256="") for video in distinct]
    assert [video.split for video in assign_splits(distinct, spec(), seed=3)] == [
        video.split for video in assign_splits(without, spec(), seed=3)
    ]

    first, second, third, *others = (replace(video, sha256="") for video in corpus(20, 2))
    copies = [replace(video, sha256="a" * 64) for video in (first, second, third)]
    copies[1] = replace(copies[1], split="query")
    placed = {video.id: video.split for video in assign_splits([*copies, *others], spec(), seed=0)}
    assert placed["v0"] == placed["v1"] == placed["v2"] == "query"
    copies[0] = replace(copies[0], split="train")
    placed = {video.id: video.split for video in assign_splits([*copies, *others], spec(), seed=0)}
    assert (placed["v0"], placed["v1"], placed["v2"]) == ("train", "query", "train")
    copies = [replace(copies[2], group=""), replace(copies[1], split="", group="mine")]
    chosen = spec(query_groups=("mine",))
    placed = {video.id: video.split for video in assign_splits([*copies, *others], chosen, seed=0)}
    assert placed["v2"] == placed["v1"] == "query"


def test_videos_of_one_file_are_no_copies() -> None:
    """As those of a published set, whose features are in one file."""
    videos = [replace(video, path="train.h5", sha256="") for video in corpus(40, 4)]
    of_one_file = [replace(video, sha256="a" * 64) for video in videos]
    assert [video.split for video in assign_splits(of_one_file, spec(), seed=3)] == [
        video.split for video in assign_splits(videos, spec(), seed=3)
    ]


def test_a_corpus_of_copies_is_told_so() -> None:
    first, second = (replace(video, sha256="a" * 64) for video in corpus(2, 1))
    with pytest.raises(UserError, match=f"in one group, such as {first.path} and {second.path}$"):
        assign_splits([first, replace(second, split="query")], spec(), seed=0)
