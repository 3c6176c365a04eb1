"""A search space so small that a trial takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

SPACE: dict[str, Any] = {
    "losses.alpha": {"from": 0.1, "to": 10.0, "scale": "log"},
    "losses.beta": {"from": 0.01, "to": 1.0, "scale": "log"},
    "rounds": {
        "number": {"from": 1, "to": 2, "scale": "linear"},
        "clusters": {"from": 2, "to": 6, "scale": "log"},
        "growth": {"from": 1.0, "to": 2.0, "scale": "linear"},
        "granularities": {"from": 1, "to": 2, "scale": "linear"},
        "epochs": {"from": 2, "to": 5, "scale": "linear"},
        "refresh_every": {"from": 1, "to": 2, "scale": "linear"},
    },
    "sampler.mask_ratio": {"from": 0.3, "to": 0.7, "scale": "linear"},
    "clustering.centres": ["voting", "kmeans"],
}

# A study whose best trial is another than the first, the parameters as they are, whatever is drawn: training
# pays, and they train for an eighth as long as every other trial, of which none is stopped.
DEFAULT_IS_TOO_SHORT: dict[str, Any] = {
    "model__start": "random",
    "training__learning_rate": 1e-3,
    "rounds": {"1": {"after": "warmup", "clusters": [5], "epochs": 1, "refresh_every": 1}},
    "tuning__search": ["losses.beta", "rounds"],
    "tuning__space": {
        "losses.beta": SPACE["losses.beta"],
        "rounds": {**SPACE["rounds"], "epochs": {"from": 8, "to": 10, "scale": "linear"}},
    },
    "tuning__least_epochs": 8,
}


def write_tiny_tuning(folder: Path, **changes: Any) -> None:
    """`params.yaml` and `features.h5` of a study of four trials; dots in the keys of changes are written as
    two underscores.
    """
    write_tiny_features(folder / "features.h5")
    write_tiny_params(
        folder / "params.yaml",
        **{
            "tuning__trials": 4,
            "tuning__space": SPACE,
            "tuning__random_trials": 3,
            "tuning__least_epochs": 1,
            "tuning__heartbeat": 2,
            **changes,
        },
    )
