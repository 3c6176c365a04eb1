"""Whatever changes a number is in a digest: a stage's `deps` in dvc.yaml name all of the library that its
code imports.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT, file_of, imports, reached_from

# Can refuse, write, wait or tell, but change no number.
NO_NUMBERS = {
    "ssvh_model.corpus.published.sets",  # what params.yaml is checked against
    "ssvh_model.errors",
    "ssvh_model.faiss_import",
    "ssvh_model.files",
    "ssvh_model.hdf5",
    "ssvh_model.hdf5_heaps",
    "ssvh_model.locks",
    "ssvh_model.pictures.joined",  # puts pictures together for a page
    "ssvh_model.progress",
    "ssvh_model.remote_folder",  # what it fetches is compared with the manifest
    "ssvh_model.scratch",  # where copies lie meanwhile
    "ssvh_model.texts",
    "ssvh_model.video.backbone_names",  # what params.yaml is checked against
}
STAGES = ("corpus", "features", "warmup", "clusters", "p2set", "evaluate")
# It carries on what other stages made; the hasher and what serves it are the code that a version holds.
REGISTER = {"ssvh_model/model", "tasks/registry/served_hasher.py"}


def code_in_deps(stage: str) -> list[Path]:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    deps = stages[stage].get("do", stages[stage])["deps"]
    return [Path(dep) for dep in deps if dep.startswith(("ssvh_model", "tasks"))]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_all_of_the_library_that_the_stage_imports(stage: str) -> None:
    deps = code_in_deps(stage)
    needed = {
        module
        for module in reached_from(f"tasks.stages.{stage}") - NO_NUMBERS
        if module.startswith("ssvh_model.") and file_of(module).name != "__init__.py"
    }
    assert needed
    missing = [
        str(file_of(module))
        for module in sorted(needed)
        if not any(dep == file_of(module) or dep in file_of(module).parents for dep in deps)
    ]
    assert not missing, f"dvc.yaml: {stage} depends on them, too"


def test_every_dep_is_there_and_needed() -> None:
    for stage in STAGES:
        files = {file_of(module) for module in reached_from(f"tasks.stages.{stage}")}
        for dep in code_in_deps(stage):
            assert (ROOT / dep).exists(), dep
            assert dep in files or any(dep in file.parents for file in files), f"{stage}: {dep}"


def test_a_version_holds_the_hasher_and_what_serves_it() -> None:
    assert {str(dep) for dep in code_in_deps("register")} == REGISTER
    assert all((ROOT / dep).exists() for dep in REGISTER)


def test_what_changes_no_number_is_there() -> None:
    assert imports().keys() >= NO_NUMBERS
