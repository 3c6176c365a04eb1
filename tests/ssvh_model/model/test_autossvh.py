from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from ssvh_model.losses.reconstruction import reconstruction_loss
from ssvh_model.model.autossvh import AutoSSVH, build_model
from ssvh_model.model.sampler import Selection, select_at_random
from tests.ssvh_model.conftest import BITS, FRAMES, SIZE, clustered_features, tiny_config


def build(kind: str = "adversarial") -> AutoSSVH:
    config = tiny_config(kind)
    return build_model(config.hasher, config.decoder, config.sampler, seed=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shapes_and_the_size_of_the_published_model() -> None:
    features = clustered_features(6).float()
    first, second = build()(features, reversal=1.0, generator=generator())
    assert first.soft_codes.shape == (6, BITS)
    assert first.errors.shape == (6, FRAMES)
    assert (first.selection.visible != second.selection.visible).any()

    from ssvh_model.model.hasher import HasherConfig, VideoHasher

    published = VideoHasher(
        HasherConfig(
            feature_size=4096,
            frames=25,
            bits=64,
            width=256,
            layers=12,
            heads=6,
            mlp_ratio=4,
            position_scale=1,
            pooling="votes",
        )
    )
    assert abs(sum(weight.numel() for weight in published.parameters()) - 10.7e6) < 0.3e6


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build().state_dict()
    torch.manual_seed(2)
    second = build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_views_in_one_batch_equal_views_one_by_one() -> None:
    features = clustered_features(5).float()
    model = build().eval()
    together = model(features, reversal=1.0, generator=generator())
    embedded = model.hasher.embed(features)
    for view in together:
        alone = model.view(embedded, view.selection, features)
        torch.testing.assert_close(alone.soft_codes, view.soft_codes)
        torch.testing.assert_close(alone.errors, view.errors, atol=1e-5, rtol=1e-5)


def test_hidden_frames_do_not_reach_the_codes() -> None:
    model = build().eval()
    features = clustered_features(3).float()
    selection = select_at_random(3, FRAMES, model.visible, generator())
    changed = torch.where(selection.weights[:, :, None].bool(), features, features + 100)
    views = [model.view(model.hasher.embed(values), selection, values) for values in (features, changed)]
    torch.testing.assert_close(views[0].soft_codes, views[1].soft_codes)


def test_codes_stand_at_their_true_frame_positions() -> None:
    # The released sampler path puts visible tokens first whatever their positions; then these two would be
    # equal.
    model = build().eval()
    codes = torch.ones(1, model.visible, BITS)
    reconstructions = []
    for visible in ([0, 1, 2, 3], [4, 5, 6, 7]):
        weights = torch.zeros(1, FRAMES)
        weights[0, visible] = 1
        reconstructions.append(model.decoder(codes, Selection(torch.tensor([visible]), weights)))
    assert not torch.allclose(reconstructions[0], reconstructions[1], atol=1e-3)


def test_inference_shows_all_frames_and_has_no_chance_in_it() -> None:
    model = build().eval()
    features = clustered_features(4).float()
    codes = model.hasher.codes(features)
    assert codes.dtype == torch.int8
    assert set(codes.unique().tolist()) == {-1, 1}
    soft = torch.stack(
        [model.hasher.frame_codes(model.hasher.embed(video[None]))[0].mean(dim=0) for video in features]
    )
    torch.testing.assert_close(codes.float(), torch.where(soft >= 0, 1.0, -1.0))


def weight_gradient(model: AutoSSVH, features: torch.Tensor, selection: Selection) -> torch.Tensor:
    """Gradient of the reconstruction loss with respect to the selection weights, before any reversal."""
    weights = selection.weights.clone().requires_grad_()
    view = model.view(model.hasher.embed(features), Selection(selection.visible, weights), features)
    (gradient,) = torch.autograd.grad(reconstruction_loss(view.errors, weights), weights)
    return gradient


def test_gradient_of_the_reconstruction_loss_at_the_weights_meets_finite_differences() -> None:
    model = build().double().eval()
    features = clustered_features(2).double()
    selection = select_at_random(2, FRAMES, model.visible, generator())
    weights = selection.weights.double()
    selection = Selection(selection.visible, weights)
    gradient = weight_gradient(model, features, selection)
    embedded = model.hasher.embed(features).detach()
    hidden = float((1 - weights).sum())

    def loss(values: torch.Tensor) -> float:
        view = model.view(embedded, Selection(selection.visible, values), features)
        # The number of hidden frames is a constant of the selection, not of its relaxation.
        return float(((1 - values) * view.errors).sum() / hidden)

    with torch.no_grad():
        for video in range(2):
            for frame in range(FRAMES):
                step = torch.zeros_like(weights)
                step[video, frame] = 1e-5
                numeric = (loss(weights + step) - loss(weights - step)) / 2e-5
                assert abs(numeric - gradient[video, frame]) < 1e-6 + 1e-4 * abs(numeric)


def grade_net_step(kind: str) -> tuple[float, float]:
    """The relaxed reconstruction loss before and after a small step of Grade-Net against its gradient."""
    model = build(kind).double().eval()
    features = clustered_features(8).double()
    first, _ = model(features, reversal=1.0, generator=generator(5))
    reconstruction_loss(first.errors, first.selection.weights).backward()
    direction = weight_gradient(
        model, features, Selection(first.selection.visible, first.selection.weights.detach())
    )
    embedded = model.hasher.embed(features).detach()

    def relaxed() -> float:
        # The same noise, and the loss to first order in the soft weights.
        noise = model.scores(embedded).detach() * 0
        source = generator(5)
        uniform = torch.rand(noise.shape, generator=source).clamp(1e-7, 1 - 1e-7)
        gauss = torch.randn(noise.shape, generator=source)
        perturbed = model.scores(embedded) - torch.log(-torch.log(uniform)) + model.sampler.noise * gauss
        return (torch.softmax(perturbed, dim=-1) * direction).sum().item()

    before = relaxed()
    assert model.grade_net is not None
    with torch.no_grad():
        for parameter in model.grade_net.parameters():
            assert parameter.grad is not None
            parameter -= 1e-2 * parameter.grad
    return before, relaxed()


def test_a_descent_step_of_the_adversary_raises_the_loss_and_one_of_the_cooperator_lowers_it() -> None:
    before, after = grade_net_step("adversarial")
    assert after > before
    before, after = grade_net_step("cooperative")
    assert after < before


def test_only_the_reconstruction_loss_reaches_grade_net_and_grade_net_does_not_reach_the_embedding() -> None:
    model = build()
    features = clustered_features(6).float()
    first, second = model(features, reversal=1.0, generator=generator())
    assert model.grade_net is not None
    grade_net = list(model.grade_net.parameters())
    from_codes = torch.autograd.grad(
        first.soft_codes.square().sum() + (first.soft_codes * second.soft_codes).sum(),
        grade_net,
        allow_unused=True,
        retain_graph=True,
    )
    assert all(gradient is None for gradient in from_codes)
    from_reconstruction = torch.autograd.grad(
        reconstruction_loss(first.errors, first.selection.weights),
        grade_net,
        retain_graph=True,
    )
    assert all(gradient.abs().sum() > 0 for gradient in from_reconstruction[-2:])
    through_weights = torch.autograd.grad(
        (first.selection.weights * torch.rand(6, FRAMES)).sum(),
        [model.hasher.embedding.weight],
        allow_unused=True,
    )
    assert through_weights == (None,)


def test_random_sampler_has_no_grade_net() -> None:
    model = build("random")
    assert model.grade_net is None
    first, _ = model(clustered_features(4).float(), reversal=1.0, generator=generator())
    assert not first.selection.weights.requires_grad


def test_each_view_has_a_feature_dropout_of_its_own() -> None:
    features = torch.ones(200, FRAMES, SIZE)
    model = build("random")
    seen: list[torch.Tensor] = []
    model.hasher.embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(features, reversal=1.0, generator=generator(), dropout=0.25)
    (inputs,) = seen
    first, second = inputs[:200] == 0, inputs[200:] == 0
    for dropped in (first, second):
        assert abs(dropped.float().mean() - 0.25) < 0.02
    # Chance alone drops a value in both views: 0.25 * 0.25.
    assert abs((first & second).float().mean() - 0.0625) < 0.02
    assert torch.allclose(inputs[:200][~first], torch.tensor(1 / 0.75))


def test_each_view_has_code_noise_of_its_own_and_all_frames_of_it_the_same() -> None:
    features = torch.zeros(300, FRAMES, SIZE)
    model = build("random")
    model.hasher.hash_layer.norm.weight.data.zero_()  # so that the bits are those of the noise alone
    first, second = (
        view.soft_codes for view in model(features, reversal=1.0, generator=generator(), code_noise=0.5)
    )
    for codes in (first, second):
        assert (codes.abs() == 1).all()
        assert codes.mean().abs() < 0.1
    assert abs((first == second).float().mean() - 0.5) < 0.05


def test_code_noise_turns_only_bits_near_the_border() -> None:
    features = clustered_features(200).float()
    model = build("random").eval()
    model.hasher.hash_layer.norm.bias.data[0] = 3.0
    (view, _), (noisy, _) = (
        model(features, reversal=1.0, generator=generator(), code_noise=noise) for noise in (0.0, 0.5)
    )
    turned = (view.soft_codes - noisy.soft_codes).abs().mean(dim=0)
    assert turned[0] < 0.01
    assert turned[1:].mean() > 0.1


@pytest.mark.parametrize("kind", ["adversarial", "shuffled"])
@pytest.mark.parametrize(
    "decoder", [{"positions": False}, {"error": "cosine"}, {"positions": False, "error": "cosine"}]
)
def test_any_encoder_decoder_and_sampler_go_together(kind: str, decoder: dict[str, Any]) -> None:
    config = tiny_config(kind)
    hasher = replace(config.hasher, encoder="state_space", mlp_ratio=0.0)
    model = build_model(hasher, replace(config.decoder, **decoder), config.sampler, seed=0)
    features = clustered_features(4).float()
    views = model(features, reversal=1.0, generator=generator(), dropout=0.1, code_noise=0.1)
    losses = [reconstruction_loss(view.errors, view.selection.weights) for view in views]
    (sum(losses) + sum(view.soft_codes.square().sum() for view in views)).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert not without
    if model.grade_net is not None:
        assert any(weight.grad.abs().sum() > 0 for weight in model.grade_net.parameters())


def test_only_the_frames_of_a_shuffled_view_are_embedded_and_at_their_positions() -> None:
    model = build("shuffled").eval()
    features = clustered_features(5).float()
    embedded = model.hasher.embed(features)
    for view in model(features, reversal=0.0, generator=generator()):
        alone = model.view(embedded, view.selection, features)
        torch.testing.assert_close(alone.soft_codes, view.soft_codes)
        torch.testing.assert_close(alone.errors, view.errors, atol=1e-5, rtol=1e-5)
