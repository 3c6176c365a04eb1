"""What the project's modules import of each other, read from their text: also what is imported within a
function.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ssvh_model", "tasks", "flows")


def file_of(module: str) -> Path:
    """Path of a module below the project's folder."""
    return _modules()[module]


@cache
def imports() -> dict[str, set[str]]:
    """Module -> modules of the project that it imports."""
    return {name: imported(path.read_text(encoding="utf-8")) - {name} for name, path in _paths().items()}


def imported(text: str) -> set[str]:
    """Modules of the project that a program imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from tasks import paths` names a module, `from tasks.paths import WORK` something in it.
            found |= {
                name if name in _modules() else node.module
                for name in (f"{node.module}.{alias.name}" for alias in node.names)
            }
    return found & _modules().keys()


def reached_from(module: str) -> set[str]:
    """All modules that a module needs, itself among them."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        if (one := waiting.pop()) not in seen:
            seen.add(one)
            waiting += imports()[one]
    return seen


@cache
def _modules() -> dict[str, Path]:
    return {name: path.relative_to(ROOT) for name, path in _paths().items()}


@cache
def _paths() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
