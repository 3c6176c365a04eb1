"""Files that appear whole: what is there meanwhile, after a kill, and beside other writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, check_writable, is_temporary, remove_temporaries
from tests.conftest import REPOSITORY

KILLED = """
import os, signal, sys
from pathlib import Path
from ssvh_model.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment)
    assert killed.returncode == -signal.SIGKILL


def test_writers_of_one_file_in_one_process_do_not_meet(tmp_path: Path) -> None:
    path, both = tmp_path / "out.json", threading.Barrier(2, timeout=200)
    failures: list[BaseException] = []

    def write(text: str) -> None:
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(text)
                both.wait()
                assert temporary.read_text() == text
                both.wait()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert path.read_text() in ("one", "two")
    assert os.listdir(tmp_path) == ["out.json"]


def test_what_a_kill_leaves_is_no_file_of_the_folder(tmp_path: Path) -> None:
    """Not for those who look for files of that kind, who would take half a file for a whole one."""
    kill_while_writing(tmp_path / "000001.h5")
    assert list(tmp_path.iterdir()), "there is something left"
    assert not list(tmp_path.glob("*.h5")) and all(map(is_temporary, tmp_path.iterdir()))
    (tmp_path / "000002.h5").write_text("whole")
    remove_temporaries(tmp_path, "000002.h5")
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporaries(tmp_path, "000001.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["000002.h5"]


def test_after_an_exception_nothing_is_left_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep/out.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("old")
    try:
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert path.read_text() == "old" and os.listdir(path.parent) == ["out.txt"]


def test_what_could_not_be_written_is_said_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "new", tmp_path / "file", tmp_path / "some/folders/new"):
        check_writable(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is left"
    for wrong in (tmp_path, tmp_path / "file/new", tmp_path / "file/folder/new", tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match=r"a folder; allowed is a file|can't be written \("):
            check_writable(wrong)
