from __future__ import annotations

import pytest
import torch

from ssvh_model.model.sampler import (
    SamplerConfig,
    select_at_random,
    select_by_score,
    select_from_shuffle,
    visible_frames,
)
from ssvh_model.training.ranks import Ranks


def config(**changes: object) -> SamplerConfig:
    return SamplerConfig(
        **{
            "kind": "adversarial",
            "mask_ratio": 0.5,
            "gumbel": 1.0,
            "noise": 0.0,
            "temperature": 1.0,
            **changes,
        }  # type: ignore[arg-type]
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("frames", "ratio", "visible"), [(25, 0.5, 12), (25, 0.75, 6), (30, 0.5, 15), (25, 0.7, 8)]
)
def test_number_of_visible_frames(frames: int, ratio: float, visible: int) -> None:
    assert visible_frames(frames, ratio) == visible


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.99, 1.0])
def test_all_or_nothing_visible_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="mask_ratio"):
        visible_frames(10, ratio)


def test_without_noise_the_best_scores_are_shown_in_temporal_order() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.2, 0.8, 0.7]])
    selection = select_by_score(scores, 3, config(gumbel=0.0), reversal=1.0, generator=generator())
    assert selection.visible.tolist() == [[1, 3, 4]]
    assert selection.weights.tolist() == [[0, 1, 0, 1, 1]]


def test_gumbel_top_k_follows_the_plackett_luce_law() -> None:
    # With standard Gumbel noise the first of the top k is frame i with probability softmax(scores)_i.
    scores = torch.tensor([0.1, 0.5, 0.9]).expand(60_000, 3)
    selection = select_by_score(scores, 1, config(), reversal=1.0, generator=generator())
    share = selection.weights.mean(dim=0)
    torch.testing.assert_close(share, torch.softmax(scores[0], 0), atol=0.01, rtol=0)


def test_gaussian_noise_of_the_released_level_drowns_the_scores() -> None:
    scores = torch.tensor([0.0, 1.0]).expand(20_000, 2)
    share = {
        noise: select_by_score(
            scores, 1, config(gumbel=0.0, noise=noise), reversal=1.0, generator=generator()
        )
        .weights[:, 1]
        .mean()
        .item()
        for noise in (0.1, 10.0)
    }
    assert share[0.1] > 0.999
    assert 0.5 < share[10.0] < 0.56


def test_random_selection_is_uniform_and_differs_between_draws() -> None:
    source = generator()
    first = select_at_random(4000, 10, 4, source)
    second = select_at_random(4000, 10, 4, source)
    assert (first.visible != second.visible).any()
    assert (first.visible.diff(dim=1) > 0).all()
    torch.testing.assert_close(first.weights.mean(0), torch.full((10,), 0.4), atol=0.03, rtol=0)


@pytest.mark.parametrize(("kind", "direction"), [("adversarial", -2.0), ("cooperative", 1.0)])
def test_gradient_is_the_softmax_one_and_the_adversary_reverses_it(kind: str, direction: float) -> None:
    # A loss that is linear in the weights has a softmax-relaxed form whose gradient finite differences can
    # find.
    scores = torch.tensor([[0.3, 0.6, 0.1, 0.8]], dtype=torch.float64, requires_grad=True)
    cost = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    setting = config(kind=kind, gumbel=0.0, temperature=0.7)
    selection = select_by_score(scores, 2, setting, reversal=2.0, generator=generator())
    (selection.weights * cost).sum().backward()

    def relaxed(values: torch.Tensor) -> float:
        return float((torch.softmax(values / 0.7, dim=-1) * cost).sum())

    numeric = torch.zeros(4, dtype=torch.float64)
    for frame in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[frame] = 1e-6
        numeric[frame] = (relaxed(scores.detach()[0] + shift) - relaxed(scores.detach()[0] - shift)) / 2e-6
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad[0], direction * numeric, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"kind": "greedy"}, {"mask_ratio": 1.0}, {"gumbel": -1.0}, {"temperature": 0.0}]
)
def test_impossible_settings_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)) if "kind" not in changes else "sampler kind"):
        config(**changes)


def test_views_from_a_shuffle_have_no_frame_in_common_and_every_frame_as_often() -> None:
    selection = select_from_shuffle(40_000, 8, 3, generator())
    first, second = selection.weights.chunk(2)
    assert (first * second).sum() == 0
    assert (selection.weights.sum(dim=1) == 3).all()
    assert selection.weights.gather(1, selection.visible).eq(1).all()
    torch.testing.assert_close(first.mean(dim=0), torch.full((8,), 3 / 8), atol=0.01, rtol=0)
    # In the order of the shuffle: whichever frame comes first, it is any of them.
    torch.testing.assert_close(
        selection.visible.float().mean(dim=0), torch.full((3,), 3.5), atol=0.05, rtol=0
    )


def test_processes_that_share_a_batch_shuffle_as_one_would() -> None:
    whole = select_from_shuffle(10, 8, 3, generator()).visible
    for own in range(2):
        part = Ranks(own, 2).part(5)
        draws = Ranks(own, 2).draws_for_views(generator(), part, 5)
        rows = [*range(part.start, part.stop), *range(5 + part.start, 5 + part.stop)]
        assert torch.equal(select_from_shuffle(len(rows), 8, 3, draws).visible, whole[rows])
