"""The search service without its web side and its other processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.serving.limits import Limits
from tasks.serving.service import SearchService


def test_files_are_those_of_the_project_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project, other):
        (folder / "clips").mkdir(parents=True)
    (project / "params.yaml").touch()
    monkeypatch.chdir(other)
    service = SearchService(project / "index", Limits())
    view: Any = SimpleNamespace(videos=SimpleNamespace(paths=["clips/0.mp4", "/videos/1.mp4"]))
    with service.file_of(view, 0) as first, service.file_of(view, 1) as second:
        assert (first, second) == (project / "clips/0.mp4", Path("/videos/1.mp4"))
