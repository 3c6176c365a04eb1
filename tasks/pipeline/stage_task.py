"""A stage's function as a Prefect task.

    @stage_task(tags=("training",))
    def warmup() -> None:
        with open_stage("warmup") as stage:
            ...

`warmup()` in anybody's flow runs it there, `warmup.fn()` runs it without a server. DVC starts it by `python
-m tasks.stage warmup`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ssvh_model.errors import UserError
from tasks.machine.errors import ServiceAway

SECONDS_BEFORE_RETRIES = (10, 30, 60, 120)  # of work that failed because a service was away


class StageTask:
    """A Prefect task, made at its first use: `dvc repro` without a server must not wait for Prefect's import.

    What is not named here is the task's own: `with_options`, `submit`, ...

    Attributes:
        fn: the plain function.
        name: of the stage.
        tags: of the task.
    """

    def __init__(self, fn: Callable[..., None], tags: Sequence[str]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.tags = frozenset(tags)

    @functools.cached_property
    def task(self) -> Any:
        """The Prefect task. It is tried again if a service was away, and for no other reason."""
        from prefect import task

        # A template that Prefect fills, such as "p2set@{round}".
        name = "@".join([self.name, *(f"{{{one}}}" for one in inspect.signature(self.fn).parameters)])
        return task(name=self.name, task_run_name=name, tags=self.tags, **retried())(
            with_failed_state(self.fn)
        )

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.task(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.task, name)


def stage_task(*, tags: Sequence[str] = ()) -> Callable[[Callable[..., None]], StageTask]:
    """Make a function the Prefect task of the stage that has its name."""
    return lambda fn: StageTask(fn, tags)


def retried() -> dict[str, Any]:
    """Options of a Prefect task whose work is DVC's or a stage's: tried again while a service is away, never
    kept by Prefect.
    """
    from prefect.cache_policies import NO_CACHE

    return {
        "cache_policy": NO_CACHE,
        "persist_result": False,
        "retries": len(SECONDS_BEFORE_RETRIES),
        "retry_delay_seconds": list(SECONDS_BEFORE_RETRIES),
        "retry_condition_fn": _service_was_away,
    }


def with_failed_state(fn: Callable[..., None]) -> Callable[..., Any]:
    """`fn`, with a `UserError` as a failed state of one line: of an exception, Prefect prints where it came
    from.
    """
    from prefect.states import Failed

    @functools.wraps(fn)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            return fn(*arguments, **named)
        except UserError as error:
            return Failed(message=str(error), data=error)

    return run


def _service_was_away(task: Any, run: Any, state: Any) -> bool:
    return isinstance(state.data, ServiceAway)
