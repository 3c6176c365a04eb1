"""In which precision a hasher makes codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ssvh_model.model.hasher import HasherConfig, VideoHasher

CONFIG = HasherConfig(
    feature_size=40, frames=6, bits=32, width=64, layers=2, heads=4, mlp_ratio=2.0,
    position_scale=0.1, pooling="values",
)  # fmt: skip


def hasher(**changes: object) -> VideoHasher:
    torch.manual_seed(0)
    return VideoHasher(replace(CONFIG, **changes)).eval()  # type: ignore[arg-type]


def features() -> Tensor:
    return torch.randn(50, 6, 40, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_bfloat16_makes_nearly_the_same_codes_with_the_same_weights() -> None:
    plain, rough = hasher(), hasher(precision="bfloat16")
    expected, found = plain(features()), rough(features())
    assert found.dtype == torch.float32 and {weight.dtype for weight in rough.parameters()} == {torch.float32}
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    assert ((found >= 0) == (expected >= 0)).float().mean() > 0.98


@torch.no_grad()
def test_it_is_the_hasher_that_says_so_and_not_who_calls() -> None:
    expected = hasher()(features())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(hasher()(features()), expected)


@torch.no_grad()
def test_frame_codes_in_training_are_left_to_the_trainer() -> None:
    plain, rough = hasher(), hasher(precision="bfloat16")
    embedded = [one.embed(one.center(features())) for one in (plain, rough)]
    assert torch.equal(*embedded)
    assert torch.equal(plain.frame_codes(embedded[0]), rough.frame_codes(embedded[1]))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision is 'float16'; allowed are float32 and bfloat16"):
        hasher(precision="float16")
