"""Films of scenes that all differ, clips that are cut out of them, and hashers for both."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.features import FeatureMeta
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index import open_index
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher_file import load_saved_hasher, save_hasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.decoding import sample_frames
from ssvh_model.video.encoding import write_video
from tasks import paths
from tasks.index.build import features_to_keep, settings_of
from tasks.index.given_videos import encode_videos, find_given_videos, remove_work
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.registry.find_hasher import find_hasher
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher
from tests.serving import moving_picture

SIZE, FRAMES, RATE = 64, 8, 8
FILMS, SCENES, SCENE = 3, 6, 2.0  # scenes of a film, seconds each
SEGMENTS = {"seconds": 2.0, "overlap": 0.5}
SHOTS = (3.0, 2.5, 4.0, 3.5, 2.0, 12.0, 3.0)  # seconds of those of a film that is cut into shots
SLOWLY = 4  # frames in which they move as far as others in one


def silent(_: str) -> Progress:
    return no_progress


def scenes(film: int) -> np.ndarray:
    """The frames of a film."""
    parts = [moving_picture(100 * film + number, frames=int(SCENE * RATE)) for number in range(SCENES)]
    return np.concatenate(parts)


def shots(film: int) -> np.ndarray:
    """The frames of a film of shots that are of several lengths. They move slowly: frames between those on a
    grid are like these.
    """
    parts = []
    for number, seconds in enumerate(SHOTS):
        frames = int(seconds * RATE)
        picture = moving_picture(1000 + 100 * film + number, frames=-(-frames // SLOWLY))
        parts.append(picture.repeat(SLOWLY, axis=0)[:frames])
    return np.concatenate(parts)


def cut_shots(folder: Path, film: int, start: float, seconds: float) -> Path:
    """A clip out of a film of `write_shots`, encoded again."""
    return _cut(folder / f"cuts/shots-{film}-{start:g}-{seconds:g}.mp4", shots(film), start, seconds)


def write_shots(folder: Path) -> None:
    """Films of `shots` in `shots`, three."""
    for film in range(FILMS):
        _write(folder / f"shots/shots-{film}.mp4", shots(film))


def cut(folder: Path, film: int, start: float, seconds: float) -> Path:
    """A clip out of a film, encoded again."""
    return _cut(folder / f"cuts/{film}-{start:g}-{seconds:g}.mp4", scenes(film), start, seconds)


def _cut(path: Path, frames: np.ndarray, start: float, seconds: float) -> Path:
    first = round(start * RATE)
    return _write(path, frames[first : first + round(seconds * RATE)])


def _write(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_video(path, frames, rate=Fraction(RATE), quality=18)
    return path


def make_films(folder: Path) -> None:
    """Films in `films`, a clip `clip.mp4`, and two hashers, `hasher-1` and `hasher-2`, that are centred on
    the films' frames. The first has a Grade-Net.
    """
    backbone = load_backbone("efficientnet_lite0", size=SIZE, device=torch.device("cpu"))
    features = []
    for film in range(FILMS):
        path = _write(folder / f"films/film-{film}.mp4", scenes(film))
        frames = sample_frames(path, SCENES * FRAMES, longer_side=512).frames
        features += torch.as_tensor(backbone(frames)).split(FRAMES)
    _write(folder / "clip.mp4", moving_picture(999, frames=12))
    meta = FeatureMeta(backbone.name, backbone.weights_sha256, SIZE)
    for seed in (1, 2):
        hashing = write_hasher(
            folder / f"hasher-{seed}", seed=seed, bits=64, frames=FRAMES, feature_size=1280, meta=meta
        )
        hasher, _ = load_saved_hasher(hashing)
        names = [str(number) for number in range(len(features))]
        learn_center(hasher, FrameSource.from_tensor(names, torch.stack(features)), batch_size=8)
        grade_net = GradeNet(hasher.config.width) if seed == 1 else None
        save_hasher(hashing, hasher, meta, grade_net=grade_net)


def start_index(place: str = str(paths.INDEX), segments: object = SEGMENTS) -> Params:
    """In the folder of a project that `make_films` has filled: params.yaml that cuts films, and an index of
    the clip by the first hasher.
    """
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("workers: 0  ", "workers: 2  ").replace("segments: whole", f"segments: {segments}")
    paths.PARAMS.write_text(text, encoding="utf-8")
    params = load_params()
    source = find_hasher("./hasher-1", model="")
    videos = find_given_videos([Path("clip.mp4")], params, label=None, progress=no_progress)
    encoded = encode_videos(videos, source, params, segments=None, progress=silent)
    index = open_index(place)
    with index.alone():
        index.replace(encoded.coded, source.folder, settings_of(params), seed=1)
        index.keep(features_to_keep(encoded, {video.id: video for video in videos}))
    remove_work(encoded.work)
    return params


def rows_of(place: str, video: str) -> CodedVideos:
    """A video's rows in the order of time."""
    whole = open_index(place).snapshot(loaded=True).whole()
    rows = [row for row, name in enumerate(whole.ids) if name == video]
    return whole.rows(sorted(rows, key=lambda row: whole.spans[row, 0]))


@pytest.fixture(scope="session")
def made_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `make_films` and `write_shots` have filled."""
    folder = tmp_path_factory.mktemp("films")
    make_films(folder)
    write_shots(folder)
    return folder


@pytest.fixture
def film_project(made_films: Path, project: Path) -> Path:
    """The present folder: a project with copies of these, and no index."""
    shutil.copytree(made_films, project, dirs_exist_ok=True)
    return project
