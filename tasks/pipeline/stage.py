"""What a stage's function works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.machine.progress import ShownProgress
from tasks.params.sections import Params
from tasks.pipeline.work import Work

if TYPE_CHECKING:
    from tasks.records.stage_run import StageRun


@dataclass(frozen=True)
class Stage:
    """What a stage's function works with.

    Attributes:
        name: as in dvc.yaml, such as "features" or "p2set@2".
        round: number of the round, from 1; 0 for stages that belong to none.
        params: the whole of params.yaml.
        work: the folder that outlives a kill, and the way to the declared outputs.
        run: the stage's MLflow run.
        say: logs one line.
    """

    name: str
    round: int
    params: Params
    work: Work
    run: StageRun
    say: Callable[[str], None]

    def progress(self, what: str) -> ShownProgress:
        """A progress to hand to the library; `what` is counted, such as "videos"."""
        return ShownProgress(what, self.say)
