"""One variable of a MATLAB file before version 7.3, read in a process of its own: a damaged file can bring
scipy's reader down.

python -m ssvh_model.corpus.mat_table labels.mat labels
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.errors import UserError

MOST_BYTES = 2**32  # that the process may take
MOST_SECONDS = 600  # of processor time
MOST_CLASSES = 100_000


def read_mat_table(path: Path, key: str) -> np.ndarray:
    """A variable as an array; a sparse matrix as a dense one.

    Raises:
        UserError: the file is damaged, or has no such variable, or it is larger than labels can be.
    """
    command = [sys.executable, "-m", __name__, str(path.absolute()), key]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    head, _, values = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["its reader came to an end"])[
            -1
        ]
        raise UserError(f"{path}: not a readable MATLAB file ({last[:200]})")
    said = json.loads(head)
    if "problem" in said:
        raise UserError(f"{path}: {said['problem']}")
    return np.frombuffer(values, dtype=said["dtype"]).reshape(said["shape"])


def main(path: str, key: str) -> None:
    """Print a line of JSON, then the variable's values, unless the line says what the problem is."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    values = b""
    said: dict[str, Any]
    try:
        table = _variable(path, key)
        said = {"dtype": table.dtype.str, "shape": table.shape}
        values = table.tobytes()
    # A damaged file may raise almost anything there.
    except UserError as error:
        said = {"problem": str(error)}
    except MemoryError:
        said = {"problem": f"not a readable MATLAB file (it claims more than {MOST_BYTES >> 30} GiB)"}
    except Exception as error:
        said = {"problem": f"not a readable MATLAB file ({' '.join(str(error).split())[:200]})"}
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n" + values)


def _variable(path: str, key: str) -> np.ndarray:
    from scipy import io as matlab
    from scipy import sparse

    content = matlab.loadmat(path)
    names = [name for name in content if not name.startswith("__")]
    if key not in names:
        raise UserError(f"variable {key!r} is missing; there is {', '.join(names) or 'nothing'}")
    table = content[key]
    if sparse.issparse(table):
        # It may claim any size, and a dense one must fit into memory.
        if table.shape[1] > MOST_CLASSES:
            raise UserError(
                f"{key!r} has shape {list(table.shape)}; allowed are up to {MOST_CLASSES} classes"
            )
        table = table.toarray()
    array = np.asarray(table)
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"{key!r} has shape {list(array.shape)} of {array.dtype}; allowed is [videos, classes] of numbers"
        )
    return array


if __name__ == "__main__":
    main(*sys.argv[1:])
