"""Arrows go one way, flows -> tasks -> ssvh_model, and the library stays free of the four tools."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.imports import imported
from tests.imports import imports as graph

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "ssvh_model": {
        "tasks",
        "flows",
        "prefect",
        "mlflow",
        "dvc",
        "optuna",
        "pydantic",
        "typer",
        "rich",
        "psutil",
        "ray",
    },
    "tasks": {"flows", "typer"},
    "flows": set(),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_import_runs_the_other_way(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(package)
        for name, line in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name in FORBIDDEN[package]
    ]
    assert modules(package)
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "import mlflow",
        "from prefect.states import Failed",
        "def f():\n    import optuna as o",
        "import tasks.stage",
    ],
)
def test_the_check_sees_forbidden_imports(text: str) -> None:
    assert [name for name, _ in imports(ast.parse(text)) if name in FORBIDDEN["ssvh_model"]]


@pytest.mark.parametrize("name", ['"tasks.stages.corpus"', 'f"tasks.stages.{base}"'])
def test_imports_by_name_are_seen(name: str) -> None:
    assert "tasks.stages.corpus" in imported(f"def f(base):\n    importlib.import_module({name})")


def test_no_imports_run_in_a_circle() -> None:
    """Not even those that wait within a function: who reads one file should not have to read the others
    first.
    """
    try:
        tuple(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_the_library_imports_with_torch_numpy_and_h5py_alone() -> None:
    """In a process that refuses what else it uses. Modules that only functions import may ask for more."""
    program = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {"av", "faiss", "PIL", "matplotlib", "scipy", "ale_py", "timm", "safetensors", "efficientnet_lite_pytorch", "psycopg"}:
            raise ImportError(f"{top} is not there")

sys.meta_path.insert(0, Refuse())
for name in ("ssvh_model.features", "ssvh_model.manifest", "ssvh_model.model.autossvh", "ssvh_model.model.hasher",
             "ssvh_model.losses.objective", "ssvh_model.training.trainer", "ssvh_model.retrieval.codes",
             "ssvh_model.index.searcher"):
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
