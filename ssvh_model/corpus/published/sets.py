"""What the published feature files of four data sets are called, and which part plays in their protocols
(method, section 7).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedPart:
    """One pair of files: features, and labels of the same videos.

    Attributes:
        features: HDF5 file with the data set `FEATURES_KEY`, [n, M, D].
        labels: MATLAB file; None where nothing is known of the videos.
        labels_key: its variable, [n, classes], one-hot or multi-hot.
        split: where the videos go: train, database or query.
        videos: n, as published.
    """

    features: str
    labels: str | None
    labels_key: str
    split: str
    videos: int

    @property
    def name(self) -> str:
        """Its name among the ids: "train", "test" or "query"."""
        return self.features.removesuffix("_feats.h5").rpartition("_")[2]


@dataclass(frozen=True)
class PublishedSet:
    """A data set as its users hold it.

    Attributes:
        frames, feature_size: M and D, as published.
        parts: its files.
    """

    frames: int
    feature_size: int
    parts: tuple[PublishedPart, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits in which there are videos."""
        return tuple(part.split for part in self.parts)


FEATURES_KEY = "feats"


def _pair(name: str, part: str, split: str, videos: int) -> PublishedPart:
    return PublishedPart(f"{name}_{part}_feats.h5", f"{name}_{part}_labels.mat", "labels", split, videos)


# Videos of FCVID's database are its queries, too; those of UCF101 and HMDB51 that are searched are the
# training videos. Both are told to the evaluation by its lists of splits.
PUBLISHED_SETS = {
    "activitynet": PublishedSet(
        30,
        2048,
        (
            PublishedPart("train_feats.h5", None, "", "train", 9_722),
            PublishedPart("test_feats.h5", "re_label.mat", "re_label", "database", 3_758),
            PublishedPart("query_feats.h5", "q_label.mat", "q_label", "query", 1_000),
        ),
    ),
    "fcvid": PublishedSet(
        25, 4096, (_pair("fcv", "train", "train", 45_585), _pair("fcv", "test", "database", 45_600))
    ),
    "ucf101": PublishedSet(
        25, 4096, (_pair("ucf", "train", "train", 9_537), _pair("ucf", "test", "query", 3_783))
    ),
    "hmdb51": PublishedSet(
        25, 4096, (_pair("hmdb", "train", "train", 3_570), _pair("hmdb", "test", "query", 1_530))
    ),
}
