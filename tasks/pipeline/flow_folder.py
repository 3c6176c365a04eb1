"""What a flow and the processes of its stages tell each other: files in a folder that the flow makes for this
run.

The flow shows each stage as a task of its own (flows/running/reproduction.py); the stage itself runs in a
process that DVC starts. What that has to say it appends to `<stage>.jsonl`, an entry a line, and the flow's
task shows it. So a stage's process needs no Prefect, and goes on where the Prefect server is away.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "SSVH_FLOW_FOLDER"
SECONDS_TO_NAME_THE_TASK = 10.0  # a flow that can't reach its server must not keep a stage from its work
SECONDS_BETWEEN_LOOKS = 0.05

# Kinds of entries.
BEGAN, LINE, ARTIFACT, ENDED = "began", "line", "artifact", "ended"
# How a stage ended.
WELL, BAD_INPUT, SERVICE_AWAY, FAILED = "well", "bad input", "service away", "failed"


@dataclass(frozen=True)
class FlowFolder:
    """The folder of a flow's run.

    Attributes:
        path: where it is.
    """

    path: Path

    @classmethod
    def given(cls) -> FlowFolder | None:
        """That of the flow that started this process; None if no flow did."""
        path = os.environ.get(VARIABLE)
        return cls(Path(path)) if path else None

    def tell(self, stage: str, kind: str, **content: Any) -> None:
        """Append an entry to what a stage has said. Nothing is raised where the disk is full or the flow is
        gone.
        """
        with suppress(OSError), open(self.path / f"{stage}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **content}) + "\n")

    def has_begun(self, stage: str) -> bool:
        """True once the stage's process has begun."""
        return (self.path / f"{stage}.jsonl").exists()

    def name_flow_run(self, flow_run: str) -> None:
        """Note the id of the flow's run."""
        with suppress(OSError):
            (self.path / "flow-run").write_text(flow_run)

    def name_task_run(self, stage: str, task_run: str) -> None:
        """Note the id of the task run that shows a stage."""
        temporary = self.path / f".{stage}.task-run"
        with suppress(OSError):
            temporary.write_text(task_run)
            temporary.rename(self.path / f"{stage}.task-run")

    def flow_run(self) -> str:
        """Id of the flow's run; "" where the flow could not note it."""
        path = self.path / "flow-run"
        return path.read_text() if path.exists() else ""

    def task_run(self, stage: str) -> str:
        """Id of the task run that shows a stage; "" where the flow does not come to it for ten seconds."""
        path = self.path / f"{stage}.task-run"
        until = time.monotonic() + SECONDS_TO_NAME_THE_TASK
        while not path.exists():
            if time.monotonic() > until:
                return ""
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return path.read_text()


class Told:
    """Reads what a stage says while it says it.

    Args:
        folder: of the flow.
        stage: its name.
    """

    def __init__(self, folder: FlowFolder, stage: str) -> None:
        self._path = folder.path / f"{stage}.jsonl"
        self._place, self._rest = 0, b""

    def new(self) -> list[dict[str, Any]]:
        """Entries that were not read yet. What was cut off by a full disk is passed over."""
        if not self._path.exists():
            return []
        with open(self._path, "rb") as file:
            file.seek(self._place)
            text = file.read()
        self._place += len(text)
        *lines, self._rest = (self._rest + text).split(b"\n")
        entries = []
        for line in lines:
            with suppress(ValueError):
                entries.append(json.loads(line))
        return entries
