from __future__ import annotations

from pathlib import Path

import pytest

from ssvh_model.index.file_paths import file_of_path, path_in_index, project_of


def test_paths_are_relative_to_the_project_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project / "below", other):
        folder.mkdir(parents=True)
    (project / "params.yaml").touch()
    monkeypatch.chdir(other)
    for index in (project / "index", Path("../project/index"), project / "indexes/second"):
        assert project_of(index) == project
    for place in (
        "index",
        str(other / "index"),
        str(tmp_path / "index"),
        "postgresql://somebody@host/videos",
    ):
        assert project_of(place) == other
    clip = project / "clips/0.mp4"
    assert path_in_index(clip, project) == "clips/0.mp4"
    assert path_in_index("1.mp4", project) == str(other / "1.mp4")
    assert path_in_index("1.mp4") == "1.mp4"
    assert file_of_path("clips/0.mp4", project) == str(clip)
    for same in ("", str(clip), "s3://bucket/0.mp4"):
        assert file_of_path(same, project) == same
    assert path_in_index("s3://bucket/0.mp4", project) == "s3://bucket/0.mp4"
    # An index of a folder in a project that has none of its own.
    monkeypatch.chdir(project / "below")
    assert project_of("index") == project / "below"
