"""A few epochs of training in float64, by one process or, started by torchrun, by several."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import build_model
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.ranks import Ranks
from ssvh_model.training.trainer import Optimization, Trainer
from tests.ssvh_model.conftest import clustered_features, tiny_config

CPU = torch.device("cpu")
OBJECTIVE = Objective(
    reconstruction=1.0, alpha=0.5, beta=0.2, temperature=0.5, tau_plus=0.1, negatives="repeated"
)


def train(
    ranks: Ranks, preset: str = "paper", *, epochs: int = 3, videos: int = 37
) -> tuple[Trainer, list[dict[str, float]]]:
    """Train with clusters from the second epoch on; the number of videos makes batches of odd and unequal
    sizes.

    What it is made of is about what the preset has, "paper" or "wsch".
    """
    config, objective, points = tiny_config("adversarial"), OBJECTIVE, "values"
    if preset == "wsch":
        config = replace(
            tiny_config("shuffled"),
            hasher=replace(config.hasher, encoder="state_space"),
            decoder=replace(config.decoder, positions=False, error="cosine"),
        )
        objective, points = replace(OBJECTIVE, negatives="all", schedule="cyclic", target="nearest"), "codes"
    trainer = Trainer(
        build_model(config.hasher, config.decoder, config.sampler, seed=3).double(),
        FrameSource.from_tensor([str(row) for row in range(videos)], clustered_features(videos)),
        objective=objective,
        optimization=Optimization(
            batch_size=8,
            learning_rate=1e-3,
            learning_rate_floor=1e-6,
            step_epochs=2,
            step_factor=0.9,
            feature_dropout=0.1,
            code_noise=0.3,
            reversal=1.0,
            reversal_ramp=2,
            precision="float32",
        ),
        seed=3,
        device=CPU,
        ranks=ranks,
    )
    rows = []
    for _ in range(epochs):
        rows.append(trainer.train_epoch())
        trainer.model.float()
        codes = encode(trainer.model.hasher, trainer.videos, batch_size=8, device=CPU, ranks=ranks)
        trainer.model.double()
        made = ranks.from_first(
            lambda codes=codes: make_anchors(
                codes, [4], iterations=5, restarts=1, points_per_centroid=100,
                mean_concentration=0.2, centres="voting", points=points, seed=1, last=trainer.granularities,
            )
        )  # fmt: skip
        trainer.granularities = [
            Granularity(one.anchors.double(), one.assignments, one.concentration.double()) for one in made
        ]
    return trainer, rows


def main(folder: Path, preset: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    trainer, rows = train(ranks, preset)
    losses = torch.tensor([row["loss"] for row in rows], dtype=torch.float64)
    save_file({**trainer.model.state_dict(), "losses": losses}, folder / f"rank-{ranks.own}.safetensors")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
