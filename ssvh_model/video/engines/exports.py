"""Networks as they were exported for an engine, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ssvh_model.files import atomic_path

DIGEST = hashlib.sha256().digest_size


def exports_folder() -> Path | None:
    """`$XDG_CACHE_HOME/autossvh/exports`, by default in `~/.cache`; None for a user without a home."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return cache / "autossvh" / "exports"


def exported(what: Mapping[str, object], export: Callable[[], bytes]) -> bytes:
    """What an earlier process has exported, or else what `export` makes now, which is kept.

    A file that is damaged counts for nothing, and a folder that can't be written to costs only the time to
    export again.

    Args:
        what: everything that the export follows from, beside this library's code.
        export: makes it.
    """
    folder = exports_folder()
    if folder is None:
        return export()
    path = folder / hashlib.sha256(json.dumps({**what, "code": _code()}, sort_keys=True).encode()).hexdigest()
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
            return content[DIGEST:]
    except OSError:
        pass
    made = export()
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(hashlib.sha256(made).digest() + made)
    except OSError:
        pass
    return made


def _code() -> str:
    """Digest of the code that says what the networks are and how they are exported."""
    here = Path(__file__).parent
    sources = [here.parent / "backbones.py", here.parent / "own_models.py", *sorted(here.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
