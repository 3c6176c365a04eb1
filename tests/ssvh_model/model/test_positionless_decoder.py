from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvh_model.model.decoder import FrameDecoder
from ssvh_model.model.frame_errors import FrameError, frame_errors
from ssvh_model.model.positionless_decoder import PositionlessDecoder
from ssvh_model.model.sampler import select_from_shuffle

SIZES = {"feature_size": 6, "frames": 8, "bits": 16, "width": 12, "layers": 2, "heads": 2, "mlp_ratio": 2.0}


def test_one_token_counts_as_the_many_of_all_hidden_frames() -> None:
    torch.manual_seed(0)
    decoder = PositionlessDecoder(**SIZES, error="cosine").double()  # type: ignore[arg-type]
    torch.nn.init.normal_(decoder.hidden_token)
    codes = torch.randn(4, 3, 16, dtype=torch.float64).sign()
    found = decoder(codes)
    tokens = torch.cat([codes, decoder.hidden_token.expand(4, 5, -1)], dim=1)
    naive = decoder.head(decoder.transformer(decoder.code_embedding(tokens)))[:, 3:]
    torch.testing.assert_close(naive, found.expand(-1, 5, -1))
    weights = [*decoder.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.square().sum() * 5, weights),
        torch.autograd.grad(naive.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("error", ["squared", "cosine"])
@pytest.mark.parametrize("decoder", [FrameDecoder, PositionlessDecoder])
def test_errors_are_those_of_every_frame_and_view(
    decoder: type[FrameDecoder | PositionlessDecoder], error: FrameError
) -> None:
    torch.manual_seed(0)
    made = decoder(**SIZES, error=error)  # type: ignore[arg-type]
    features = torch.randn(3, 8, 6)
    selection = select_from_shuffle(6, 8, 3, torch.Generator().manual_seed(0))
    codes = torch.randn(6, 3, 16).sign()
    found = made.errors(codes, selection, features)
    reconstructed = (
        made(codes, selection) if isinstance(made, FrameDecoder) else made(codes).expand(-1, 8, -1)
    )
    for view in range(6):
        for frame in range(8):
            one, other = reconstructed[view, frame], features[view % 3, frame]
            wanted = (
                (one - other).square().mean()
                if error == "squared"
                else 1 - F.cosine_similarity(one, other, dim=0)
            )
            torch.testing.assert_close(found[view, frame], wanted)  # fmt: skip


def test_black_frames_have_a_cosine_error_of_1() -> None:
    assert torch.equal(frame_errors(torch.randn(2, 1, 6), torch.zeros(2, 4, 6), "cosine"), torch.ones(2, 4))
