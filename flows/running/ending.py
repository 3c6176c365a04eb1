"""How a flow ends: bad input as a state of its own, and what the command that ran it says and returns."""

from __future__ import annotations

from typing import Any

from prefect.states import Failed, State

from ssvh_model.errors import UserError
from tasks.machine.last_line import print_last

BAD_INPUT = "Bad input"


def bad_input(error: UserError) -> State[Any]:
    """The state that a flow ends in after bad input."""
    return Failed(name=BAD_INPUT, message=str(error))


def exit_status(state: State[Any]) -> int:
    """0 if all went well; else the reason is printed, and it is 2 after bad input and 1 after anything
    else.
    """
    if state.is_completed():
        return 0
    print_last(f"error: {state.message}")
    return 2 if state.name == BAD_INPUT else 1
