"""params.yaml, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks import paths
from tasks.params.cross_checks import check_together
from tasks.params.reading import read_yaml, validate
from tasks.params.sections import Params
from tasks.project.template import PARAMS


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: the file can't be read; a key is unknown, missing or of a wrong type; a value is not
            possible, by itself or together with others. One line that names the key, what was found and what
            is allowed.
    """
    return check_params(read_yaml(path), path)


def load_params_anywhere() -> Params:
    """params.yaml of the folder; where it has none, that of the package, for commands that need no project.

    Raises:
        UserError: as `load_params`.
    """
    return load_params(paths.PARAMS if paths.PARAMS.is_file() else PARAMS)


def check_params(content: dict[str, Any], path: Path) -> Params:
    """The same for what would stand in params.yaml; `path` is how messages call it.

    Raises:
        UserError: as `load_params`.
    """
    params = validate(Params, content, path)
    check_together(params, path)
    return params
