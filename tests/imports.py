"""What the project's modules import of each other, read from their text: also what is imported within a
function, or by its name.
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
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            found |= _named(node.args[0])
    return found & _modules().keys()


def _named(name: ast.expr) -> set[str]:
    """The modules that an expression may name: of `f"tasks.stages.{base}"` all in that package."""
    first = name.values[0] if isinstance(name, ast.JoinedStr) else name
    if not isinstance(first, ast.Constant):
        return set()
    known = _modules()
    return {first.value} if first is name else {one for one in known if one.startswith(first.value)}


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
