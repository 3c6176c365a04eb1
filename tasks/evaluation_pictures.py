"""The pictures of an evaluation."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.manifest import read_manifest
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.pictures.bits import draw_bits
from ssvh_model.pictures.curves import draw_curves
from ssvh_model.pictures.frames_sheet import FrameStrip, draw_frames_sheet
from ssvh_model.pictures.map_at_k import draw_map_at_k
from ssvh_model.pictures.neighbours_sheet import Hit, Neighbours, draw_neighbours_sheet
from ssvh_model.pictures.precision_recall import draw_precision_recall
from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.neighbours import nearest_neighbours
from ssvh_model.retrieval.relevance import own_positions
from ssvh_model.retrieval.report import Evaluation
from ssvh_model.retrieval.video_set import VideoSet
from ssvh_model.training.checkpoint import History
from tasks import paths
from tasks.stage import Stage
from tasks.training import VALIDATION_GMAP, VALIDATION_GMAP_FINE, TrainingSession

NEIGHBOURS = 10
CURVES = ("loss", "reconstruction", "view_contrastive", "p2set", VALIDATION_GMAP, VALIDATION_GMAP_FINE)
SAMPLER_CURVES = ("score_spread", "selection_entropy", "score_error_correlation")


class Thumbnails:
    """Frame pictures by video id.

    Raises:
        UserError: the file is missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        self._rows = {value.decode("utf-8"): row for row, value in enumerate(self._file["ids"][:])}

    def frames(self, video: str) -> list[np.ndarray]:
        """The M sampled frames of a video, [height, width, 3] uint8 each."""
        from PIL import Image

        return [
            np.asarray(Image.open(io.BytesIO(data.tobytes())).convert("RGB"))
            for data in self._file["thumbnails"][self._rows[video]]
        ]

    def middle(self, video: str) -> np.ndarray:
        """The frame in the middle, which stands for the video."""
        frames = self.frames(video)
        return frames[len(frames) // 2]


def draw_all(
    folder: Path,
    stage: Stage,
    session: TrainingSession,
    model: AutoSSVH,
    file: FeatureFile,
    query: VideoSet,
    database: VideoSet,
    evaluation: Evaluation,
    history: History,
) -> None:
    """Draw every picture that the data allow."""
    settings = stage.params.evaluate
    draw_curves(folder / "training.png", history, columns=CURVES)
    if any(name in row for row in history for name in SAMPLER_CURVES):
        draw_curves(folder / "sampler.png", history, columns=SAMPLER_CURVES)
    draw_bits(folder / "bits.png", evaluation.statistics, n_codes=len(database.ids))
    measured = evaluation.coarse.measured()
    if measured:
        draw_map_at_k(folder / "map_at_k.png", measured, bits=evaluation.bits)
        with_radius = {
            name: result.precision_recall
            for name, result in measured.items()
            if result.precision_recall is not None
        }
        draw_precision_recall(folder / "precision_recall.png", with_radius, bits=evaluation.bits)
    if paths.THUMBNAIL_FILE.is_file():
        thumbnails = Thumbnails(paths.THUMBNAIL_FILE)
        strips = frame_strips(session, model, file, thumbnails, settings.videos_shown)
        if strips:
            draw_frames_sheet(
                folder / "frames.png", strips, title="What the sampler makes of some database videos"
            )
        rows = neighbour_rows(query, database, thumbnails, settings.queries_shown, settings.exclude_self)
        if rows:
            draw_neighbours_sheet(folder / "neighbours.png", rows, title="The nearest videos of some queries")


def frame_strips(
    session: TrainingSession, model: AutoSSVH, file: FeatureFile, thumbnails: Thumbnails, count: int
) -> list[FrameStrip]:
    """Some database videos with their scores and the frames that the sampler shows when there is no noise."""
    planted = {video.id: video.bad_frames for video in read_manifest(paths.FEATURES_MANIFEST)}
    rows = file.rows(*session.params.evaluate.database)
    # Videos with planted bad frames tell the most.
    with_bad = np.array([row for row in rows if planted.get(file.ids[row])], dtype=np.int64)
    chosen_rows = _spread(with_bad if len(with_bad) >= count else rows, count)
    strips = []
    for row in chosen_rows:
        scores = _scores(session, model, file, row)
        visible = np.zeros(file.shape[1], dtype=bool)
        if scores is not None:
            visible[np.argsort(-scores, kind="stable")[: model.visible]] = True
        indices = file.frame_indices[row]
        bad = planted.get(file.ids[row], {})
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
def _scores(session: TrainingSession, model: AutoSSVH, file: FeatureFile, row: int) -> np.ndarray | None:
    if model.grade_net is None:
        return None
    features = file.read([row]).to(session.device).float()
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
            Hit(
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
