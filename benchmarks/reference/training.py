"""Training as released codes do it: one view after the other, explicit attention, float32, a data loader with
one worker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.model.decoder import FrameDecoder
from ssvh_model.model.transformer import Block, SelfAttention, Transformer


def attention(module: SelfAttention, tokens: Tensor) -> Tensor:
    """Self-attention by its formula, [B, T, width] -> [B, T, width]."""
    batch, length, _ = tokens.shape

    def by_head(values: Tensor) -> Tensor:
        return values.view(batch, length, module.heads, -1).transpose(1, 2)

    query, key, value = (by_head(part) for part in module.query_key_value(tokens).chunk(3, dim=-1))
    scores = torch.matmul(query, key.transpose(-2, -1)) / query.shape[-1] ** 0.5
    attended = torch.matmul(F.softmax(scores, dim=-1), value)
    return module.project(attended.transpose(1, 2).reshape(batch, length, -1))


def transformed(module: Transformer, tokens: Tensor) -> Tensor:
    """A Transformer's layers one by one, [B, T, width] -> [B, T, width]."""
    for block in module.blocks:
        assert isinstance(block, Block)
        tokens = tokens + attention(block.attention, block.attention_norm(tokens))
        tokens = tokens + block.mlp(block.mlp_norm(tokens))
    return module.norm(tokens)


def sign_with_gradient(values: Tensor) -> Tensor:
    """+1 or -1; the gradient passes where a value is in (-1, 1]."""
    passing = values * ((values > -1) & (values <= 1))
    return torch.where(values >= 0, 1.0, -1.0) + passing - passing.detach()


def reconstructed(decoder: FrameDecoder, codes: Tensor, visible: Tensor, weights: Tensor) -> Tensor:
    """Features of all frames from the codes of the visible ones, [B, k, K] -> [B, M, D]."""
    batch, frames = weights.shape
    embedded = decoder.code_embedding(codes)
    placed = torch.zeros(batch, frames, embedded.shape[-1])
    placed = placed.scatter(1, visible[:, :, None].expand(-1, -1, embedded.shape[-1]), embedded)
    gate = weights[:, :, None]
    tokens = gate * placed + (1 - gate) * decoder.mask_token + decoder.positions
    return decoder.head(transformed(decoder.transformer, tokens))


def losses(
    model: AutoSSVH,
    features: Tensor,
    index: Tensor,
    *,
    objective: Objective,
    granularities: Sequence[Granularity],
    reversal: float,
    code_noise: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The loss and its terms for a batch of centred features [B, M, D], with an adversarial or cooperative
    sampler.
    """
    batch, frames, _ = features.shape
    sampler, hasher = model.sampler, model.hasher
    assert model.grade_net is not None
    # In the order in which the product draws them.
    chances = torch.rand(2, batch, frames, generator=generator).clamp(1e-7, 1 - 1e-7)
    score_noise = torch.randn(2, batch, frames, generator=generator)
    noise = code_noise * torch.randn(2, batch, 1, hasher.config.trained_bits, generator=generator)

    soft_codes, reconstruction = [], []
    for view in range(2):
        embedded = hasher.embedding(features) + hasher.positions
        scores = model.grade_net(embedded.detach())
        perturbed = scores - sampler.gumbel * torch.log(-torch.log(chances[view]))
        perturbed = perturbed + sampler.noise * score_noise[view]
        visible = perturbed.topk(model.visible, dim=-1).indices.sort(dim=-1).values
        hard = torch.zeros_like(perturbed).scatter(-1, visible, 1.0)
        soft = torch.softmax(perturbed / sampler.temperature, dim=-1)
        weights = hard + (soft - soft.detach())
        if sampler.kind == "adversarial":
            weights = (1 + reversal) * weights.detach() - reversal * weights

        shown = torch.stack([video[rows] for video, rows in zip(embedded, visible, strict=True)])
        layer = hasher.hash_layer
        values = layer.norm(layer.linear(transformed(hasher.encoder, shown))) + noise[view]
        codes = sign_with_gradient(values)
        soft_codes.append(codes.mean(dim=1))
        errors = (reconstructed(model.decoder, codes, visible, weights) - features).pow(2).mean(dim=-1)
        reconstruction.append(((1 - weights) * errors).sum() / (1 - weights).detach().sum())

    terms = {
        "reconstruction": reconstruction[0] + reconstruction[1],
        "view_contrastive": contrast(
            *soft_codes, temperature=objective.temperature, tau_plus=objective.tau_plus
        ),
    }
    total = objective.reconstruction * terms["reconstruction"] + objective.alpha * terms["view_contrastive"]
    if granularities:
        terms["p2set"] = torch.stack([to_anchors(codes, index, granularities) for codes in soft_codes]).mean()
        total = total + objective.beta * terms["p2set"]
    return {"loss": total, **terms}


def contrast(first: Tensor, second: Tensor, *, temperature: float, tau_plus: float) -> Tensor:
    """The debiased contrastive loss of two views [B, K], in the form that its authors released."""
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    batch = len(first)
    both = torch.cat([first, second])
    every = torch.exp(both @ both.t() / temperature)
    mask = torch.ones(batch, batch, dtype=torch.bool).fill_diagonal_(False).repeat(2, 2)
    negatives = every.masked_select(mask).view(2 * batch, -1)
    positive = torch.exp((first * second).sum(dim=-1) / temperature).repeat(2)
    count = 2 * batch - 2
    estimated = (negatives.sum(dim=-1) - tau_plus * count * positive) / (1 - tau_plus)
    estimated = torch.clamp(estimated, min=count * math.exp(-1 / temperature))
    return (-torch.log(positive / (positive + estimated))).mean()


def to_anchors(codes: Tensor, index: Tensor, granularities: Sequence[Granularity]) -> Tensor:
    """The point-to-set loss with every anchor as a candidate, of codes [B, K]."""
    values = []
    for clusters in granularities:
        logits = F.normalize(codes, dim=1) @ F.normalize(clusters.anchors, dim=1).T / clusters.concentration
        values.append(F.cross_entropy(logits, clusters.assignments[index]))
    return torch.stack(values).mean()


class ReferenceTrainer:
    """Trains a model epoch by epoch, with torch's data loader and Adam.

    Args:
        model: on the CPU, with an adversarial or cooperative sampler.
        features: [n, M, D] float16.
    """

    def __init__(
        self,
        model: AutoSSVH,
        features: Tensor,
        *,
        objective: Objective,
        batch_size: int,
        learning_rate: float,
        reversal: float,
        code_noise: float,
        seed: int,
    ) -> None:
        self._model = model
        self._objective = objective
        self._reversal = reversal
        self._code_noise = code_noise
        self._generator = torch.Generator().manual_seed(seed)
        self._loader = DataLoader(
            TensorDataset(features, torch.arange(len(features))),
            batch_size,
            shuffle=True,
            num_workers=1,
            persistent_workers=True,
            drop_last=True,
        )
        self._optimizer = torch.optim.Adam(model.parameters(), learning_rate, foreach=False)

    def train_epoch(self, granularities: Sequence[Granularity] = ()) -> float:
        """Train on every batch once; the mean loss."""
        values = []
        for features, index in self._loader:
            terms = losses(
                self._model,
                self._model.hasher.center(features.float()),
                index,
                objective=self._objective,
                granularities=granularities,
                reversal=self._reversal,
                code_noise=self._code_noise,
                generator=self._generator,
            )
            self._optimizer.zero_grad()
            terms["loss"].backward()
            self._optimizer.step()
            values.append(terms["loss"].item())
        return sum(values) / len(values)
