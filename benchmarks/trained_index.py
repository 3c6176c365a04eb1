"""An index of the corpus by the hasher that `make run` has trained, whether or not it was registered or
promoted.
"""

from __future__ import annotations

from pathlib import Path

from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher_file import save_hasher
from ssvh_model.training.checkpoint import load_model
from tasks import paths
from tasks.index.build import build_index
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params


def make_trained_index(folder: Path) -> Path:
    """Encode the stored features and write the index into `folder`; its path."""
    params = load_params()
    meta = FeatureFile(paths.FEATURE_FILE).meta
    model = load_model(paths.state(params.last_state))
    save_hasher(folder / "hasher", model.hasher, meta, grade_net=model.grade_net)
    build_index(
        folder / "index",
        paths.FEATURE_FILE,
        params,
        hasher=str(folder / "hasher"),
        say=print,
        progress=lambda what: ShownProgress(what, print),
    )
    return folder / "index"
