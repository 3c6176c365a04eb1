"""L_P2Set, the point-to-set contrastive loss between videos and cluster anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity

Negatives = Literal["all", "repeated"]
Target = Literal["cluster", "nearest"]


def p2set_loss(
    soft_codes: Tensor,
    index: Tensor,
    granularities: Sequence[Granularity],
    *,
    negatives: Negatives,
    target: Target = "cluster",
) -> Tensor:
    """Cross-entropy of each video against all anchors with its own as target, a scalar (method, section 4).

    The logits are (code / |code|) . (anchor / |anchor|) / phi, with phi the anchor's concentration; the mean
    over granularities.

    With `negatives="repeated"` it is the released code's form: the candidates are the anchor of each video of
    the batch, as often as videos have it, and the anchors that no video of the batch has. A video is then
    pushed away from its own anchor, too, wherever another one of the batch is of its cluster.

    Args:
        soft_codes: [B, K].
        index: [B] int64, the videos' rows in the training set, to look their clusters up.
        granularities: at least one clustering of the training set.
        negatives: "all", every anchor once; "repeated", as released.
        target: a video's own anchor: "cluster", that of the cluster in which the last clustering put it;
            "nearest", that to which its code is nearest by now, by the cosine (WSCH, anon271/WSCH@5ca3ff3).

    Raises:
        ValueError: no granularity, or an unknown target.
    """
    if target not in get_args(Target):
        raise ValueError(f"target {target!r}; allowed are {' and '.join(get_args(Target))}")
    if not granularities:
        raise ValueError("the P2Set loss needs at least one granularity")
    codes = F.normalize(soft_codes, dim=1)
    losses = []
    for clusters in granularities:
        cosines = codes @ F.normalize(clusters.anchors, dim=1).T
        logits = cosines / clusters.concentration
        own = clusters.assignments[index] if target == "cluster" else cosines.argmax(dim=1)
        if negatives == "repeated":
            logits, own = _repeat_positives(logits, own)
        losses.append(F.cross_entropy(logits, own))
    return torch.stack(losses).mean()


def _repeat_positives(logits: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """The released code's candidates, [B, C] -> [B, B + C]: each video's anchor, then the anchors that are no
    video's.
    """
    taken = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device).index_fill_(0, own, True)
    others = logits.masked_fill(taken, -torch.inf)
    return torch.cat([logits[:, own], others], dim=1), torch.arange(len(own), device=logits.device)
