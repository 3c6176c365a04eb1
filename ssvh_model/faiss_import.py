"""The one place where faiss is imported."""

from __future__ import annotations

from types import ModuleType


def load_faiss() -> ModuleType:
    """Import faiss after torch, and return it.

    Both bring an OpenMP runtime of their own, and builds are known that crash in one import order
    (faiss#2555, faiss#3401). Loading torch first, always, leaves one order to rely on; a test runs both.

    Raises:
        ImportError: faiss is not installed; it is needed for clustering only.
    """
    import torch  # noqa: F401  # isort: skip
    import faiss  # isort: skip

    return faiss
