"""What the sampler is doing: whether scores matter, and to what they relate."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.model.sampler import select_at_random, select_by_score

# They need no network, only noise on the scores.
SELECTION_DRAWS = 1024


@torch.no_grad()
def sampler_state(model: AutoSSVH, features: Tensor, *, draws: int, seed: int) -> dict[str, float]:
    """Named figures of the sampler on some videos (method, section 2); empty for the random sampler.

    - `score_spread`: standard deviation of the scores within a video, mean over videos. 0 means that the
      scores are uniform.
    - `selection_entropy`: entropy of how often each frame of a video is selected, divided by log M, mean over
      videos. 1 means uniform; of that, the chance in `SELECTION_DRAWS` draws takes less than 0.001 if at
      least a quarter of the frames is visible.
    - `score_error_correlation`: Spearman's correlation of score and reconstruction error within a video, mean
      over videos. An adversary that works hides hard frames, hence negative.

    Args:
        features: [B, M, D] float32 on the model's device, as they are in the feature file.
        draws: masks a video that the errors are estimated from.
        seed: of these masks and of the selections.
    """
    if model.grade_net is None:
        return {}
    was_training = model.training
    model.eval()
    generator = torch.Generator(device=features.device).manual_seed(seed)
    features = model.hasher.center(features)
    scores = model.scores(model.hasher.embed(features))
    frames = scores.shape[1]
    repeated = scores.repeat(SELECTION_DRAWS, 1)
    selection = select_by_score(repeated, model.visible, model.sampler, reversal=0.0, generator=generator)
    selected = selection.weights.view(SELECTION_DRAWS, *scores.shape).sum(dim=0)
    frequency = selected / selected.sum(dim=1, keepdim=True)
    entropy = -torch.xlogy(frequency, frequency).sum(dim=1) / math.log(frames)
    errors = hidden_frame_errors(model, features, draws=draws, generator=generator)
    model.train(was_training)
    return {
        "score_spread": scores.std(dim=1, unbiased=False).mean().item(),
        "selection_entropy": entropy.mean().item(),
        "score_error_correlation": mean_rank_correlation(scores.cpu().numpy(), errors.cpu().numpy()),
    }


@torch.no_grad()
def hidden_frame_errors(
    model: AutoSSVH, features: Tensor, *, draws: int, generator: torch.Generator
) -> Tensor:
    """Mean reconstruction error of each frame of centred features [B, M, D] while it is hidden, [B, M]; NaN
    where no random mask hid it.
    """
    batch, frames, _ = features.shape
    embedded = model.hasher.embed(features)
    errors = features.new_zeros(batch, frames)
    hidden = features.new_zeros(batch, frames)
    for _ in range(draws):
        selection = select_at_random(batch, frames, model.visible, generator)
        mask = 1 - selection.weights
        errors += mask * model.view(embedded, selection, features).errors
        hidden += mask
    return errors / hidden


def mean_rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation row by row, averaged over the rows where it is defined; 0 if there is none.

    Args:
        first, second: [n, M]; places where `second` is not a number are left out.
    """
    values = []
    for left, right in zip(first, second, strict=True):
        known = np.isfinite(right)
        if known.sum() > 2 and np.ptp(left[known]) > 0 and np.ptp(right[known]) > 0:
            values.append(np.corrcoef(_ranks(left[known]), _ranks(right[known]))[0, 1])
    return float(np.mean(values)) if values else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each of [n] values when they are sorted; equal ones share the mean of theirs. [n] float64.

    As `scipy.stats.rankdata`, whose import takes a second.
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]
