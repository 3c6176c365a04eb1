"""What counts as a failure: a traceback, a crash, a hang, memory, several lines, what is executed, what is
written elsewhere.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.fuzz import process
from tests.fuzz.process import Reader

# Readers that do each of the things that a reader must not do.
FAULTS = {
    "traceback": ("{}['missing']", "KeyError"),
    "crash": ("os.kill(os.getpid(), 11)", "SIGSEGV"),
    "hang": ("any(iter(int, 1))", "took too long"),
    "memory": ("bytearray(2**31)", "MemoryError"),
    "two lines": ("'a\\nb'", "not one line"),
    "no name": ("raise_(UserError('something is wrong'))", "names no file"),
    "executed": ("os.system('true')", "os.system"),
    "eval": ("eval(compile('1+1', 'text', 'eval'))", "compile"),
    "network": ("socket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect"),
    "written": ("open(folder.parent / 'elsewhere', 'w')", "elsewhere"),
    "removed": ("(folder.parent / 'kept').unlink(missing_ok=True)", "kept"),
}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A process whose readers are `FAULTS`, and two that are in order."""
    lines = [f"{name!r}: lambda folder: outcome({code})," for name, (code, _) in FAULTS.items()]
    (tmp_path / "started.py").write_text(
        textwrap.dedent(
            """
            import os, socket
            from ssvh_model.errors import UserError
            from tests.fuzz import readers, worker

            def outcome(value):
                return value if isinstance(value, str) else None

            def raise_(error):
                raise error

            readers.READERS.clear()
            readers.READERS.update({
                %s
                "fine": lambda folder: (folder / "own").write_text("x") and None,
                "refused": lambda folder: raise_(UserError(f"{folder}: is damaged")),
            })
            worker.prepare = lambda kinds, desk: None
            worker.main()
            """
        )
        % "\n    ".join(lines)
    )
    monkeypatch.setattr(process, "WORKER", [str(tmp_path / "started.py")])
    monkeypatch.setattr(process, "SECONDS", 2.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Reader([], tmp_path / "desk")


@pytest.mark.slow
def test_every_fault_is_noticed_and_the_next_input_is_read(faulty: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    with faulty as reader:
        for kind, (_, sign) in FAULTS.items():
            answer = reader.read(kind, folder)
            assert (answer.outcome, sign in answer.text) == ("failed", True), f"{kind}: {answer}"
            assert reader.read("fine", folder).outcome == "accepted"
            assert reader.read("refused", folder).outcome == "refused"
