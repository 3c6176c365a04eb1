"""Writing a study's best trial into params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssvh_model.errors import UserError
from tasks.params.presets import apply_presets
from tasks.tuning.study import OpenStudy, trial_changes

# What says how a study is run, and not what is trained.
NOT_APPLIED = ("tuning.", "running.")


def apply_best(opened: OpenStudy, changes: Mapping[str, Any]) -> list[str]:
    """Write the best trial's values into params.yaml; comments stay, and the pipeline then trains just what
    the trial has trained.

    Args:
        opened: the study.
        changes: of params.yaml by dotted key, that all trials had beside.

    Returns:
        One line a key that has another value now.

    Raises:
        UserError: no trial is complete, or params.yaml would not be in order; then nothing was written.
    """
    best = opened.best()
    if best is None:
        raise UserError(f"study {opened.plan.study} has no complete trial; nothing was written")
    kept = {key: value for key, value in changes.items() if not key.startswith(NOT_APPLIED)}
    return apply_presets((), changes={**kept, **trial_changes(best)})
