"""Every variant that params.yaml lists switches off what it says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.losses.p2set import p2set_loss
from ssvh_model.training.trainer import Trainer
from tasks.experiments.ablation.schedules import refreshes
from tasks.experiments.ablation.variants import FULL, PAPER, Variant, variants
from tasks.experiments.one_training import FeatureCorpus, OneTraining
from tasks.experiments.plan import parse_seeds
from tasks.params.changes import parse_changes, with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.settings import training_session
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

SHIPPED = {
    "random-sampler",
    "cooperative-sampler",
    "without-L_FR",
    "without-L_VC",
    "without-L_P2Set",
    "kmeans-centres",
    "repeated-negatives",
    "clusters-at-once",
    "clusters-in-sequence",
}


@pytest.fixture
def params(tmp_path: Path) -> Params:
    write_tiny_params(tmp_path / "params.yaml", sampler__kind="adversarial", sampler__reversal_ramp=0)
    return load_params(tmp_path / "params.yaml")


@pytest.fixture
def file(tmp_path: Path) -> FeatureFile:
    return FeatureFile(write_tiny_features(tmp_path / "features.h5"))


def variant(params: Params, name: str) -> Variant:
    return {one.name: one for one in variants(params)}[name]


def one_step(params: Params, file: FeatureFile) -> tuple[Trainer, dict[str, torch.Tensor]]:
    """A trainer with clusters after one backward pass, and the gradients."""
    session = training_session(params, file)
    trainer = session.trainer()
    trainer.granularities = session.cluster(trainer.model.hasher, [3, 5])
    trainer.first_codes = session.encode(trainer.model.hasher, session.videos, compressed=False).half()
    features = session.videos.fetch(np.arange(30)).float()
    views = trainer.model(features, reversal=1.0, generator=torch.Generator().manual_seed(0))
    losses = trainer.objective(views, torch.arange(30), trainer.granularities, trainer.first_codes)
    losses.total.backward()
    model = trainer.model
    return trainer, {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def test_the_shipped_variants_are_those_of_the_paper_and_the_released_code() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert {one.name for one in variants(params)} >= {FULL, *SHIPPED}
    assert set(PAPER) <= SHIPPED
    assert variant(params, FULL).params == params


def test_random_has_no_grade_net_and_cooperative_turns_its_gradient_round(
    params: Params, file: FeatureFile
) -> None:
    _, full = one_step(params, file)
    _, cooperative = one_step(variant(params, "cooperative-sampler").params, file)
    random, _ = one_step(variant(params, "random-sampler").params, file)
    assert random.model.grade_net is None
    names = [name for name in full if name.startswith("grade_net")]
    assert names
    for name in names:
        torch.testing.assert_close(cooperative[name], -full[name])


def test_without_reconstruction_nothing_reaches_decoder_and_grade_net(
    params: Params, file: FeatureFile
) -> None:
    _, full = one_step(params, file)
    _, without = one_step(variant(params, "without-L_FR").params, file)
    dropped = {name.partition(".")[0] for name in full} - {name.partition(".")[0] for name in without}
    assert dropped == {"decoder", "grade_net"}


@pytest.mark.parametrize(("name", "weight"), [("without-L_VC", "alpha"), ("without-L_P2Set", "beta")])
def test_without_a_contrast_its_gradient_is_missing(
    params: Params, file: FeatureFile, name: str, weight: str
) -> None:
    changed = variant(params, name).params
    assert getattr(changed.losses, weight) == 0 and getattr(params.losses, weight) > 0
    _, full = one_step(params, file)
    _, without = one_step(changed, file)
    layer = "hasher.hash_layer.linear.weight"
    assert not torch.allclose(full[layer], without[layer])


def test_kmeans_centres_are_no_codes_and_voted_ones_are(params: Params, file: FeatureFile) -> None:
    full, _ = one_step(params, file)
    kmeans, _ = one_step(variant(params, "kmeans-centres").params, file)
    for voted, centres in zip(full.granularities, kmeans.granularities, strict=True):
        assert torch.equal(voted.assignments, centres.assignments)
        assert set(voted.anchors.unique().tolist()) <= {-1.0, 1.0}
        assert len(centres.anchors.abs().unique()) > 2
        torch.testing.assert_close(centres.anchors.norm(dim=1), torch.ones(len(centres.anchors)))


def test_repeated_negatives_are_the_released_loss(params: Params, file: FeatureFile) -> None:
    trainer, _ = one_step(variant(params, "repeated-negatives").params, file)
    features = trainer.videos.fetch(np.arange(30)).float()
    views = trainer.model(features, reversal=0.0, generator=torch.Generator().manual_seed(0))
    index = torch.arange(30)
    losses = trainer.objective(views, index, trainer.granularities, trainer.first_codes)
    released, ours = (
        torch.stack(
            [p2set_loss(view.soft_codes, index, trainer.granularities, negatives=kind) for view in views]
        ).mean()
        for kind in ("repeated", "all")
    )
    torch.testing.assert_close(losses.terms["p2set"], released)
    assert released > ours + 0.5, "30 videos share 8 anchors"


def test_the_two_schedules_have_all_counts_and_are_as_long(params: Params) -> None:
    at_once = variant(params, "clusters-at-once").params
    in_sequence = variant(params, "clusters-in-sequence").params
    assert [one.clusters for one in at_once.rounds.values()] == [(3, 4, 5)]
    assert [one.clusters for one in in_sequence.rounds.values()] == [(3,), (4,), (5,)]
    for changed in (at_once, in_sequence):
        assert sum(one.epochs for one in changed.rounds.values()) == 3
        assert refreshes(changed.rounds) == refreshes(params.rounds) == 3
    full_size = load_params(REPOSITORY / "params.yaml")
    for name in ("clusters-at-once", "clusters-in-sequence"):
        changed = variant(full_size, name).params
        assert abs(refreshes(changed.rounds) - refreshes(full_size.rounds)) <= len(full_size.rounds)


def test_a_variant_that_params_yaml_already_is_has_nothing_to_compare(params: Params) -> None:
    random = with_changes(params, {"sampler.kind": "random"}, where="test")
    assert variant(random, "random-sampler").is_full
    assert not variant(random, "cooperative-sampler").is_full
    one_round = with_changes(
        params,
        {"rounds": {"1": {"after": "warmup", "clusters": [4], "epochs": 3, "refresh_every": 1}}},
        where="",
    )
    assert (
        variant(one_round, "clusters-at-once").is_full and variant(one_round, "clusters-in-sequence").is_full
    )


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"mine": {"sampler.kindd": "random"}}, "ablation.variants.mine: sampler.kindd is not a key"),
        ({"mine": {"sampler.kind": "some"}}, "ablation.variants.mine: sampler.kind is 'some'; allowed is"),
        ({"mine": {"rounds": "some"}}, "rounds is 'some'; allowed is at-once | in-sequence"),
        (
            {"mine": {"losses.alpha": 0.0, "losses.reconstruction": 0.0, "losses.gamma": 0.0}},
            "losses.reconstruction, losses.alpha and losses.gamma are all 0",
        ),
        ({"full": {}}, "choose another name"),
    ],
)
def test_a_wrong_variant_is_one_line(params: Params, listed: dict[str, Any], message: str) -> None:
    changed = with_changes(params, {"ablation.variants": listed}, where="")
    with pytest.raises(UserError) as caught:
        variants(changed)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_only_some_variants(params: Params) -> None:
    assert [one.name for one in variants(params, ("without-L_FR",))] == [FULL, "without-L_FR"]
    with pytest.raises(UserError, match=r"--variants other: allowed are full, random-sampler"):
        variants(params, ("other",))


def test_changes_from_the_command_line() -> None:
    assert parse_changes(["model.bits=32", "rounds={}"]) == {"model.bits": 32, "rounds": {}}
    for wrong in ("model.bits", "=3", "a=[1"):
        with pytest.raises(UserError, match="--set"):
            parse_changes([wrong])


def test_seeds_from_the_command_line() -> None:
    assert parse_seeds("1,2,30") == (1, 2, 30)
    for wrong in ("", "1,x", "1,1", "-1"):
        with pytest.raises(UserError, match="--seeds"):
            parse_seeds(wrong)


def test_variants_share_the_first_phase_where_they_do_not_change_it(params: Params, tmp_path: Path) -> None:
    corpus = FeatureCorpus("f", tmp_path / "f", "digest", None)
    keys = {one.name: OneTraining(one.name, one.params, corpus, "validation") for one in variants(params)}
    shared = {name for name, one in keys.items() if one.warmup_key == keys[FULL].warmup_key}
    assert shared == {
        FULL,
        "without-L_P2Set",
        "kmeans-centres",
        "repeated-negatives",
        "clusters-at-once",
        "clusters-in-sequence",
    }
    assert len({one.key for one in keys.values()}) == len(keys)
    other = params.model_copy(update={"seed": 2})
    assert OneTraining(FULL, other, corpus, "validation").warmup_key != keys[FULL].warmup_key
    others = FeatureCorpus("f", tmp_path / "f", "another digest", None)
    assert OneTraining(FULL, params, others, "validation").key != keys[FULL].key
    elsewhere = with_changes(params, {"running.workers": 3, "ablation.resamples": 300}, where="")
    assert OneTraining(FULL, elsewhere, corpus, "validation").key == keys[FULL].key
