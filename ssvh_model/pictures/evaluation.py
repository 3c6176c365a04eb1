"""The pictures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.pictures.bits import draw_bits
from ssvh_model.pictures.curves import draw_curves
from ssvh_model.pictures.frames_sheet import FrameStrip, draw_frames_sheet
from ssvh_model.pictures.map_at_k import draw_map_at_k
from ssvh_model.pictures.neighbours_sheet import Neighbours, ShownHit, draw_neighbours_sheet
from ssvh_model.pictures.precision_recall import draw_precision_recall
from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.neighbours import nearest_neighbours
from ssvh_model.retrieval.relevance import own_positions
from ssvh_model.retrieval.report import Evaluation
from ssvh_model.retrieval.video_set import VideoSet
from ssvh_model.training.checkpoint import History
from ssvh_model.training.figures import (
    CLUSTER_AGREEMENT,
    LABEL_FREE_SCORE,
    VALIDATION_GMAP,
    VALIDATION_GMAP_FINE,
)
from ssvh_model.training.selection import SelectedState
from ssvh_model.video.thumbnails import Thumbnails

NEIGHBOURS = 10
LOSSES = ("loss", "reconstruction", "view_contrastive", "p2set", "similarity")
CURVES = (*LOSSES, CLUSTER_AGREEMENT, LABEL_FREE_SCORE, VALIDATION_GMAP, VALIDATION_GMAP_FINE)
SAMPLER_CURVES = ("score_spread", "selection_entropy", "score_error_correlation")


def draw_evaluation(
    folder: Path, evaluation: Evaluation, history: History, selection: SelectedState | None = None
) -> None:
    """Draw every picture that the figures allow.

    Args:
        folder: takes the pictures.
        evaluation: of the selected state.
        history: of the training that led to it.
        selection: what was compared to select it, drawn beside the training.
    """
    draw_curves(folder / "training.png", history, columns=CURVES, selection=selection)
    if any(name in row for row in history for name in SAMPLER_CURVES):
        draw_curves(folder / "sampler.png", history, columns=SAMPLER_CURVES)
    draw_bits(folder / "bits.png", evaluation.statistics, n_codes=evaluation.n_database)
    measured = evaluation.coarse.measured()
    if measured:
        draw_map_at_k(folder / "map_at_k.png", measured, bits=evaluation.bits)
        with_radius = {
            name: result.precision_recall
            for name, result in measured.items()
            if result.precision_recall is not None
        }
        draw_precision_recall(folder / "precision_recall.png", with_radius, bits=evaluation.bits)


def draw_videos(
    folder: Path,
    model: AutoSSVH,
    file: FeatureFile,
    query: VideoSet,
    database: VideoSet,
    thumbnails: Thumbnails,
    *,
    bad_frames: Mapping[str, Mapping[int, str]],
    exclude_self: bool,
    videos_shown: int,
    queries_shown: int,
) -> None:
    """Draw the frames of some database videos, and the videos nearest to some queries.

    Args:
        folder: takes the pictures.
        model: whose sampler and codes are shown.
        file: features of the videos.
        query, database: the videos with their codes.
        thumbnails: frames of the videos.
        bad_frames: kinds of planted bad frames by video id and number of the frame.
        exclude_self: whether a query is left out of its own answers.
        videos_shown, queries_shown: how many.
    """
    strips = frame_strips(model, file, database, thumbnails, bad_frames, videos_shown)
    if strips:
        draw_frames_sheet(
            folder / "frames.png", strips, title="What the sampler makes of some database videos"
        )
    rows = neighbour_rows(query, database, thumbnails, queries_shown, exclude_self)
    if rows:
        draw_neighbours_sheet(folder / "neighbours.png", rows, title="The nearest videos of some queries")


def frame_strips(
    model: AutoSSVH,
    file: FeatureFile,
    database: VideoSet,
    thumbnails: Thumbnails,
    bad_frames: Mapping[str, Mapping[int, str]],
    count: int,
) -> list[FrameStrip]:
    """Some database videos with their scores and the frames that the sampler shows when there is no noise."""
    shown = set(database.ids)
    rows = np.array([row for row, video in enumerate(file.ids) if video in shown], dtype=np.int64)
    # Videos with planted bad frames tell the most.
    with_bad = np.array([row for row in rows if bad_frames.get(file.ids[row])], dtype=np.int64)
    chosen_rows = _spread(with_bad if len(with_bad) >= count else rows, count)
    strips = []
    for row in chosen_rows:
        scores = _scores(model, file, row)
        visible = np.zeros(file.shape[1], dtype=bool)
        if scores is not None:
            visible[np.argsort(-scores, kind="stable")[: model.visible]] = True
        indices = file.frame_indices[row]
        bad = bad_frames.get(file.ids[row], {})
        strips.append(
            FrameStrip(
                file.ids[row],
                ", ".join(file.labels[row]),
                thumbnails.frames(file.ids[row]),
                None if scores is None else scores.tolist(),
                visible.tolist(),
                {place: bad[int(index)] for place, index in enumerate(indices) if int(index) in bad},
            )
        )
    return strips


@torch.no_grad()
def _scores(model: AutoSSVH, file: FeatureFile, row: int) -> np.ndarray | None:
    if model.grade_net is None:
        return None
    device = model.hasher.embedding.weight.device
    features = file.read([row]).to(device).float()
    return model.scores(model.hasher.embed(model.hasher.center(features)))[0].cpu().numpy()


def neighbour_rows(
    query: VideoSet, database: VideoSet, thumbnails: Thumbnails, count: int, exclude_self: bool
) -> list[Neighbours]:
    """Some queries with their nearest database videos."""
    if not len(query.ids) or not len(database.ids):
        return []
    places = _spread(np.arange(len(query.ids)), count)
    ids = [query.ids[place] for place in places]
    own = own_positions(ids, database.ids) if exclude_self else np.full(len(ids), -1)
    nearest, distances = nearest_neighbours(
        pack(query.codes[places]), pack(database.codes), count=NEIGHBOURS, own=own
    )
    rows = []
    for place, found, at in zip(places, nearest, distances, strict=True):
        labels = set(query.labels[place])
        hits = [
            ShownHit(
                database.ids[hit],
                ", ".join(database.labels[hit]),
                thumbnails.middle(database.ids[hit]),
                int(distance),
                bool(labels & set(database.labels[hit])) if labels and database.labels[hit] else None,
            )
            for hit, distance in zip(found, at, strict=True)
            if hit >= 0
        ]
        rows.append(
            Neighbours(
                query.ids[place], ", ".join(query.labels[place]), thumbnails.middle(query.ids[place]), hits
            )
        )
    return rows


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of `rows`, evenly spaced; all if there are no more."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]
