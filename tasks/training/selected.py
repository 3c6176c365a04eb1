"""Which state of a training counts as params.yaml says: its end, or its start."""

from __future__ import annotations

from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.checkpoint import load_hasher, load_history
from ssvh_model.training.failure_bounds import WORSE_THAN_START
from ssvh_model.training.selection import SelectedState, select_state
from ssvh_model.training.session import TrainingSession
from tasks import paths
from tasks.params.sections import Params
from tasks.pipeline.stage import Stage
from tasks.records.tags import SELECTED_TAG, SELECTION_TAG


def selected_hasher(params: Params, state: Path) -> VideoHasher:
    """The hasher of the training that led to a state, its end or its start.

    Args:
        params: `selection` counts.
        state: folder of the training state.

    Raises:
        UserError: a file is damaged, or what `selection` compares was not measured.
    """
    return load_hasher(state, select_state(load_history(state), params.selection).state)


def check_selectable(params: Params, session: TrainingSession) -> None:
    """Refuse before it begins a training of which `selection` could not say anything.

    Raises:
        UserError: what it compares can't be measured.
    """
    if (reason := session.why_not_selectable(params.selection)) is not None:
        raise UserError(
            f"{paths.PARAMS}: selection is {params.selection}, but {reason}; allowed are auto and end"
        )


def leave_selection(stage: Stage, selection: SelectedState) -> None:
    """Tag the stage's MLflow run and its parent with what was selected and log what was compared; say so
    where it is not the end.
    """
    stage.run.tag_both(**{SELECTED_TAG: selection.state, SELECTION_TAG: selection.sentence()})
    stage.run.log_result(selection.figures())
    if selection.state == "start":
        stage.say(f"warning: selected is {selection.sentence()}; try {WORSE_THAN_START}")
