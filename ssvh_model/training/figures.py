"""Figures that show whether training goes wrong: of the codes, of the clusters, and of training beside
validation videos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.losses.reconstruction import reconstruction_loss
from ssvh_model.losses.view_contrastive import view_contrastive_loss
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.model.sampler import select_at_random
from ssvh_model.retrieval.bits import bit_statistics
from ssvh_model.retrieval.codes import pack
from ssvh_model.training.initialization import StartChoice

# How well validation videos find training videos, by the coarse and by the fine labels.
VALIDATION_GMAP = "validation_gmap"
VALIDATION_GMAP_FINE = "validation_gmap_fine"
CLUSTER_AGREEMENT = "cluster_agreement"  # `code_agreement` of the training videos
LABEL_FREE_SCORE = "label_free_score"  # `label_free_score` of the training videos
# Of the start, in the first epoch's row.
START_WHITENING = "start_whitening"
START_WITHIN_VIDEO = "start_within_video"  # 0 for None
START_AGREEMENT = "start_agreement"
START_LABEL_FREE_SCORE = "start_label_free_score"
START_VALIDATION_GMAP = "start_validation_gmap"


def code_figures(codes: np.ndarray) -> dict[str, float]:
    """Named figures of the training videos' codes, in {-1, +1}, [n, K] int8.

    - `constant_bits`, `duplicate_bits`: bits that are the same for every video; pairs that are always equal
      or always opposite.
    - `largest_absolute_balance`: of all bits, |mean over the videos|. 0 is a bit that splits the videos in
      halves, 1 a dead one.
    - `largest_absolute_correlation`: of all pairs of bits. 1 is a pair of which one bit tells nothing new.
    - `code_diversity`: (c - 1) / (min(n, 2^K) - 1), where c = exp(entropy of how often each code occurs) is
      the number of codes that are effectively different. 0 where all videos have one code, 1 where no two
      have the same.

    Raises:
        ValueError: there are no codes.
    """
    statistics = bit_statistics(codes)
    record = statistics.record(len(codes))
    _, counts = np.unique(pack(codes), axis=0, return_counts=True)
    shares = counts / len(codes)
    different = float(np.exp(-(shares * np.log(shares)).sum()))
    possible = min(len(codes), 2 ** codes.shape[1])
    return {
        "constant_bits": record["constant_bits"],
        "duplicate_bits": record["duplicate_bits"],
        "largest_absolute_balance": float(np.abs(statistics.balance).max()),
        "largest_absolute_correlation": record["largest_absolute_correlation"],
        "code_diversity": (different - 1) / (possible - 1) if possible > 1 else 1.0,
    }


def start_figures(choice: StartChoice) -> dict[str, float]:
    """Named figures of a start that was chosen: its settings and, unless there were too few videos, its
    agreement.
    """
    agreement = choice.agreement[choice.whitening, choice.within_video]
    whitening = choice.whitening
    return {
        **({} if whitening == "by_length" else {START_WHITENING: whitening}),
        START_WITHIN_VIDEO: choice.within_video or 0.0,
        **({} if agreement is None else {START_AGREEMENT: agreement}),
    }


def cluster_figures(granularities: Sequence[Granularity]) -> dict[str, float]:
    """Named figures of the clusterings, each of the worst of them; empty without any.

    - `empty_clusters`: share of the clusters that have no member.
    - `giant_cluster`: how far the largest cluster exceeds its even share of the videos, (s - 1/C) / (1 -
      1/C), where s is the share of the videos that it holds and C the number of clusters. 0 is even, 1 is one
      cluster with all the videos.
    """
    if not granularities:
        return {}
    empty, giant = [], []
    for clusters in granularities:
        sizes = clusters.sizes
        even = 1 / len(sizes)
        empty.append((sizes == 0).double().mean().item())
        giant.append(((sizes.max() / sizes.sum()).item() - even) / (1 - even) if len(sizes) > 1 else 0.0)
    return {"empty_clusters": max(empty), "giant_cluster": max(giant)}


@torch.no_grad()
def gap_figures(
    model: AutoSSVH,
    train: Tensor,
    validation: Tensor,
    *,
    temperature: float,
    tau_plus: float,
    draws: int,
    seed: int,
) -> dict[str, float]:
    """How much higher the losses are on validation than on training videos: validation loss / training loss -
    1, by loss.

    Labels are not needed, so the gap is there for every corpus, and it shows before retrieval suffers: a
    network that learns its training videos by heart reconstructs them better than others. Both sides see the
    same uniform masks, whatever the sampler, and the same number of videos, on which the contrastive loss
    depends.

    Args:
        train, validation: [n, M, D] float32 each, on the model's device, as they are in the feature file; n
            >= 2.
        temperature, tau_plus: of the contrastive loss.
        draws: pairs of views of each video.
        seed: of the masks.

    Raises:
        ValueError: the two sides are not of the same shape.
    """
    if train.shape != validation.shape:
        raise ValueError(
            f"training videos {tuple(train.shape)}, validation videos {tuple(validation.shape)}; they must be alike"
        )
    was_training = model.training
    model.eval()
    losses = [
        _losses(model, features, temperature=temperature, tau_plus=tau_plus, draws=draws, seed=seed)
        for features in (train, validation)
    ]
    model.train(was_training)
    # Features that are all alike can be reconstructed to the last bit.
    return {
        f"{name}_gap": losses[1][name] / max(losses[0][name], 1e-12) - 1
        for name in ("reconstruction", "view_contrastive")
    }


def _losses(
    model: AutoSSVH, features: Tensor, *, temperature: float, tau_plus: float, draws: int, seed: int
) -> dict[str, float]:
    generator = torch.Generator(device=features.device).manual_seed(seed)
    features = model.hasher.center(features)
    embedded = model.hasher.embed(features)
    batch, frames, _ = features.shape
    reconstruction, contrast = 0.0, 0.0
    for _ in range(draws):
        first, second = (
            model.view(embedded, select_at_random(batch, frames, model.visible, generator), features)
            for _ in range(2)
        )
        for view in (first, second):
            reconstruction += reconstruction_loss(view.errors, view.selection.weights).item()
        contrast += view_contrastive_loss(
            first.soft_codes, second.soft_codes, temperature=temperature, tau_plus=tau_plus
        ).item()
    return {"reconstruction": reconstruction / draws, "view_contrastive": contrast / draws}


def anchor_figures(anchors: Sequence[Granularity]) -> dict[str, float]:
    """Named figures of clusterings: smallest and largest cluster and empty ones, by cluster count."""
    figures: dict[str, float] = {}
    for clusters in anchors:
        count, sizes = len(clusters.anchors), clusters.sizes
        figures[f"clusters_{count}_smallest"] = int(sizes.min())
        figures[f"clusters_{count}_largest"] = int(sizes.max())
        figures[f"clusters_{count}_empty"] = int((sizes == 0).sum())
    return figures
