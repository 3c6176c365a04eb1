"""The commands encode, index, add, remove, search and duplicates, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flows.cli.app import app, exit_status
from ssvh_model.copies import threshold
from ssvh_model.features import FeatureMeta
from ssvh_model.index.answer import Answer
from ssvh_model.index.coded_videos import CodesFile
from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.model.hasher_file import load_saved_hasher, save_hasher
from ssvh_model.progress import no_progress
from ssvh_model.texts import printable
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.encoding import write_video
from ssvh_model.video.extraction import decode_for
from tasks.index.build import build_index
from tasks.index.place import ADDRESS
from tasks.params.load import load_params
from tasks.serving.decisions import Decisions
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six clips of two kinds, two of them the same, and a hasher in a folder that tells them apart."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    backbone = load_backbone("efficientnet_lite0", size=64, device=torch.device("cpu"))
    features = []
    for number in range(6):
        rng = np.random.default_rng(0 if number == 3 else number)
        picture = rng.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
        path = tmp_path / "clips" / ("cats", "dogs")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, picture.repeat(8, 0).repeat(16, 1).repeat(16, 2), rate=Fraction(8), quality=20)
        features.append(torch.as_tensor(backbone(decode_for(backbone, path, frames=4).frames)))
    meta = FeatureMeta(backbone.name, backbone.weights_sha256, 64)
    folder = write_hasher(tmp_path / "hasher", bits=32, frames=4, feature_size=1280, meta=meta)
    hasher, _ = load_saved_hasher(folder)
    learn_center(
        hasher, FrameSource.from_tensor([str(row) for row in range(6)], torch.stack(features)), batch_size=6
    )
    save_hasher(folder, hasher, meta)
    return tmp_path


@pytest.fixture
def ssvh(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run a command; what it printed."""

    def run(*arguments: str, status: int = 0) -> str:
        found = exit_status(lambda: app(list(arguments), standalone_mode=True))
        captured = capsys.readouterr()
        assert found == status, captured.out + captured.err
        return captured.err if status else captured.out

    return run


@pytest.mark.parametrize("kept", ["folder", pytest.param("postgres", marks=pytest.mark.slow)])
def test_from_videos_to_what_is_found(  # type: ignore[no-untyped-def]
    project: Path, ssvh, kept: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "index" if kept == "folder" else request.getfixturevalue("vector_database")
    if kept == "postgres":
        monkeypatch.setenv(ADDRESS, place)
        place = open_index(place).name
    out = ssvh("encode", "clips", "--hasher", "./hasher", "-o", "mine.h5")
    assert out.startswith("mine.h5: 6 videos, codes of 32 bits by an unregistered hasher (")
    assert CodesFile(project / "mine.h5").codes.shape == (6, 4)
    out = ssvh("index", "mine.h5", "--hasher", "./hasher")
    assert out.startswith(f"{place}: 6 videos, codes of 32 bits by") and out.endswith("exact search\n")

    lines = ssvh("search", "clips/cats/0.mp4", "-k", "3").splitlines()
    assert lines[0].split() == ["distance", "label", "seconds", "video", "path"]
    assert lines[1].split() == ["0", "cats", "1.0", "cats/0", "clips/cats/0.mp4"]
    assert lines[2].split() == ["0", "dogs", "1.0", "dogs/3", "clips/dogs/3.mp4"]
    assert len(lines) == 4
    found = json.loads(ssvh("search", "clips/cats/0.mp4", "-k", "2", "--json", "--sheet", "sheet.png"))
    assert [(hit["id"], hit["distance"]) for hit in found["hits"]] == [("cats/0", 0), ("dogs/3", 0)]
    assert (found["index"]["bits"], found["index"]["videos"]) == (32, 6)
    assert found["query"]["kind"] == "clip" and found["hits"][1]["labels"] == ["dogs"]
    lines = ssvh("search", "--id", "cats/0", "--label", "dogs", "-k", "1").splitlines()
    assert [line.split()[-2] for line in lines] == ["video", "dogs/3"]
    lines = ssvh("search", "--code", found["query"]["code"], "--text", "OGS/", "-k", "1").splitlines()
    assert [line.split()[-2] for line in lines] == ["video", "dogs/3"]
    with Image.open(project / "sheet.png") as sheet:
        assert sheet.width > 500 and sheet.height > 300

    groups = json.loads(ssvh("duplicates", "--radius", "0", "--json"))["groups"]
    assert [[one["id"] for one in group] for group in groups] == [["cats/0", "dogs/3"]]
    assert "1 groups of near-duplicates" in ssvh("duplicates", "--radius", "0")
    error = ssvh("duplicates", "--radius", "33", status=2)
    assert error == "error: --radius is 33; codes have 32 bits\n"
    # All six by their codes, the two that are the same by their frames.
    far = ("duplicates", "--radius", "32")
    assert len(json.loads(ssvh(*far, "--json"))["groups"][0]) == 6
    found = json.loads(ssvh(*far, "--verify", "--json"))
    assert [[one["id"] for one in group] for group in found["groups"]] == [["cats/0", "dogs/3"]]
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"], pair["mirrored"]) == ("cats/0", "dogs/3", False)
    assert pair["score"] > found["least"] == 0.9
    line = ssvh(*far, "--verify").splitlines()[-2]
    assert line.split()[1:] == ["0.0", "to", "1.0", "cats/0", "0.0", "to", "1.0", "dogs/3", "1.00"]
    # What somebody has decided counts for more.
    Decisions(project / "index").decide("dogs/3", "cats/0", "not a duplicate")
    Decisions(project / "index").decide("cats/4", "dogs/1", "duplicate")
    found = json.loads(ssvh(*far, "--verify", "--json"))
    assert [[one["id"] for one in group] for group in found["groups"]] == [["cats/4", "dogs/1"]]
    Decisions(project / "index").decide("dogs/3", "cats/0", None)
    (project / "clips/dogs/3.mp4").write_bytes(b"no video")
    assert "2 of 6 videos are in 1 groups" in ssvh(*far, "--verify")

    assert ssvh("remove", "cats/0").endswith(f"{place}: 5 videos\n")
    assert ssvh("search", "clips/cats/0.mp4", "-k", "1").splitlines()[1].split()[3] == "dogs/3"
    assert ssvh("add", "clips/cats/0.mp4", "--label", "again").endswith(f"{place}: 6 videos\n")
    assert "again" in ssvh("search", "clips/cats/0.mp4", "-k", "2")
    # Without its ending the name would be no part of an address.
    (project / "more").mkdir()
    (project / "more/...mp4").write_bytes((project / "clips/cats/2.mp4").read_bytes())
    (project / "more/new.mp4").write_bytes((project / "clips/cats/4.mp4").read_bytes())
    out = ssvh("add", "more/...mp4", "more/new.mp4")
    assert "more/...mp4: without its ending the name is no id; rename the file\nadded new\n" in out
    assert "rename the file" in ssvh("add", "more/...mp4", status=2)
    assert ssvh("index", "--refresh", "--hasher", "./hasher").startswith(f"{place}: its codes are by ")
    # The folder of decisions is this machine's; the index is where it was said to be.
    assert (project / "index/current.json").exists() == (kept == "folder")


def test_a_search_is_answered_by_one_version_of_an_index_that_is_switched_meanwhile(
    project: Path,
    ssvh,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ssvh("encode", "clips", "--hasher", "./hasher", "-o", "six.h5")
    ssvh("encode", "clips/cats", "--hasher", "./hasher", "-o", "three.h5")
    ssvh("index", "six.h5", "--hasher", "./hasher")
    ask = Searcher.ask

    def then_switched(searcher: Searcher, *arguments: Any, **more: Any) -> Answer:
        answer = ask(searcher, *arguments, **more)
        build_index(
            Path("index"),
            Path("three.h5"),
            load_params(),
            hasher="./hasher",
            say=print,
            progress=lambda what: no_progress,
        )
        return answer

    monkeypatch.setattr(Searcher, "ask", then_switched)
    found = json.loads(ssvh("search", "clips/cats/0.mp4", "--json", "--sheet", "sheet.png"))
    assert found["index"]["videos"] == len(found["hits"]) == 6
    found = json.loads(ssvh("search", "clips/cats/0.mp4", "--json"))
    assert found["index"]["videos"] == len(found["hits"]) == 3


@pytest.mark.slow
def test_decisions_say_from_which_score_on_a_pair_counts(  # type: ignore[no-untyped-def]
    project: Path, ssvh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssvh("encode", "clips", "--hasher", "./hasher")
    ssvh("index", "codes.h5", "--hasher", "./hasher")
    asked = ("duplicates", "--radius", "32", "--verify", "--least")
    assert "--least is '1.5'; allowed are numbers from 0 to 1, and decided" in ssvh(*asked, "1.5", status=2)
    Decisions(project / "index").decide("dogs/3", "cats/0", "duplicate")  # which it is
    Decisions(project / "index").decide("cats/4", "dogs/1", "not a duplicate")
    few = "10 decided pairs of either kind; 1 were called duplicates and 1 were called no duplicates"
    assert few in ssvh(*asked, "decided", status=2)
    monkeypatch.setattr(threshold, "FEWEST", 1)
    found = json.loads(ssvh(*asked, "decided", "--json"))
    scores = {
        (pair["first"], pair["second"]): pair["score"]
        for pair in json.loads(ssvh(*asked, "0", "--json"))["pairs"]
    }
    assert not {("cats/4", "dogs/1"), ("cats/0", "dogs/3")} & set(scores), "what is decided is not compared"
    assert 0 < found["least"] < 1
    assert [[one["id"] for one in group] for group in found["groups"]] == [["cats/0", "dogs/3"]]


@pytest.mark.slow
def test_a_decision_does_not_outlive_the_file(project: Path, ssvh) -> None:  # type: ignore[no-untyped-def]
    ssvh("encode", "clips", "--hasher", "./hasher")
    ssvh("index", "codes.h5", "--hasher", "./hasher")
    (project / "a").mkdir()
    (project / "b").mkdir()
    (project / "clips/cats/2.mp4").rename(project / "a/night.mp4")
    (project / "clips/dogs/5.mp4").rename(project / "b/night.mp4")
    ssvh("remove", "cats/2", "dogs/5")
    ssvh("add", "a/night.mp4")
    Decisions(project / "index").decide(
        "night", "cats/4", "duplicate", open_index("index").known(["night", "cats/4"])
    )
    asked = ("duplicates", "--radius", "32", "--verify", "--json")
    groups = json.loads(ssvh(*asked))["groups"]
    assert [one["id"] for one in groups[1]] == ["cats/4", "night"]
    ssvh("remove", "night")
    ssvh("add", "b/night.mp4")
    assert [[one["id"] for one in group] for group in json.loads(ssvh(*asked))["groups"]] == [
        ["cats/0", "dogs/3"]
    ]


@pytest.mark.slow
def test_an_index_is_used_from_another_folder(  # type: ignore[no-untyped-def]
    project: Path, ssvh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssvh("encode", "clips", "--hasher", "./hasher")
    ssvh("index", "codes.h5", "--hasher", "./hasher")
    elsewhere = project.parent / f"{project.name}-elsewhere"
    (elsewhere / "clips/cats").mkdir(parents=True)
    (elsewhere / "clips/cats/0.mp4").write_bytes((project / "clips/dogs/1.mp4").read_bytes())
    monkeypatch.chdir(elsewhere)
    index = str(project / "index")
    asked = ("duplicates", "--radius", "32", "--verify", "--json", "--index", index)
    found = json.loads(ssvh(*asked))["groups"]
    assert [[one["path"] for one in group] for group in found] == [["clips/cats/0.mp4", "clips/dogs/3.mp4"]]
    clip = project / "clips/cats/0.mp4"
    ssvh("search", str(clip), "--sheet", "there.png", "--index", index)
    with monkeypatch.context() as there:
        there.chdir(project)
        ssvh("search", str(clip), "--sheet", str(elsewhere / "here.png"))
    assert Path("there.png").read_bytes() == Path("here.png").read_bytes()
    # The project's own files stay relative to it, others are named as a whole.
    ssvh("remove", "dogs/5", "--index", index)
    ssvh("add", str(project / "clips/dogs/5.mp4"), "clips/cats/0.mp4", "--index", index)
    known = open_index(index).known(["5", "0"])
    assert {one.path for one in known.values()} == {"clips/dogs/5.mp4", str(elsewhere / "clips/cats/0.mp4")}
    ssvh("encode", str(clip), "clips", "--hasher", f"{index}/", "-o", "both.h5")
    ssvh("index", "both.h5", "--hasher", f"{index}/", "--index", index)
    paths = open_index(index).snapshot().whole().paths
    assert sorted(paths) == [str(elsewhere / "clips/cats/0.mp4"), "clips/cats/0.mp4"]


def test_a_folder_without_parameters_is_enough(project: Path, ssvh) -> None:  # type: ignore[no-untyped-def]
    ssvh("encode", "clips", "--hasher", "./hasher", "-o", "mine.h5")
    (project / "params.yaml").unlink()
    ssvh("encode", "clips", "--hasher", "./hasher")
    ssvh("index", "codes.h5", "--hasher", "./hasher", "--index", "first")
    assert ssvh("encode", "clips/cats", "--hasher", "first/", "--label", "cats", "-o", "cats.h5").startswith(
        "cats.h5: 3 videos, codes of 32 bits by an unregistered hasher ("
    )
    ssvh("index", "cats.h5", "--hasher", "first/", "--index", "second")
    mine, cats = CodesFile(project / "mine.h5").whole(), CodesFile(project / "cats.h5").whole()
    assert {f"cats/{video}": code.tolist() for video, code in zip(cats.ids, cats.codes, strict=True)} == {
        video: code.tolist() for video, code in zip(mine.ids, mine.codes, strict=True) if "cats" in video
    }
    assert (
        json.loads(ssvh("search", "clips/cats/0.mp4", "--json", "--index", "second"))["index"]["videos"] == 3
    )
    assert ssvh("remove", "0", "--index", "second") == "removed 0\nsecond: 2 videos\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("search", "no.mp4"), "no.mp4: no such video"),
        (("search",), "allowed is one of a video, an id and a code; found none of them"),
        (("search", "clips/cats/0.mp4", "--id", "cats/0"), "an id and a code; found video and id"),
        (("search", "--code", "00", "--id", "cats/0"), "an id and a code; found id and code"),
        (
            ("search", "--id", "cats/0", "--sheet", "sheet.png"),
            "--sheet draws the video that is searched for",
        ),
        (("search", "--id", "cats/0"), "index: there is no index; `ssvh index` makes one"),
        (("search", "clips/cats/0.mp4"), "index: there is no index; `ssvh index` makes one"),
        (("remove", "x"), "there is no index"),
        (("add", "clips"), "there is no index"),
        (("duplicates",), "there is no index"),
        (("index", "none.h5"), "none.h5: no such file; allowed is a codes file or a feature file"),
        (("index", "params.yaml"), "params.yaml: not a readable HDF5 file"),
        (("encode", "clips"), "no hasher has been registered"),
        (("encode", "nothing", "--hasher", "./hasher"), "nothing: no such file or folder"),
        (("encode", "clips", "--hasher", "./clips"), "clips: holds no hasher"),
        (("encode", "params.yaml", "--hasher", "./hasher"), "params.yaml"),
        (("duplicates", "--mirrored"), "--mirrored is given without --verify"),
        (("duplicates", "--least", "0.5"), "--least is given without --verify"),
        (("encode", "clips", "--hasher", "./no-hasher", "-o", "clips"), "clips: a folder; allowed is a file"),
        (
            ("encode", "clips", "--hasher", "./no-hasher", "-o", "params.yaml/x"),
            "params.yaml/x: can't be written",
        ),
        (("search", "clips/cats/0.mp4", "--sheet", "."), ".: a folder; allowed is a file"),
        (("search", "clips/cats/0.mp4", "--sheet", "clips"), "clips: a folder; allowed is a file"),
        (("search", "clips/cats/0.mp4", "--sheet", "/proc/x.png"), "/proc/x.png: can't be written"),
    ],
)
def test_bad_input_is_one_line(project: Path, ssvh, command: tuple[str, ...], message: str) -> None:  # type: ignore[no-untyped-def]
    error = ssvh(*command, status=2)
    assert error.startswith("error: ") and message in error
    assert error.count("\n") == 1
    assert not (project / "index").exists() and not (project / "mlflow.db").exists()


@pytest.mark.parametrize(
    "command", [("search", "clips/cats/0.mp4"), ("duplicates",), ("serve",), ("add", "clips")]
)
def test_parameters_that_are_not_utf_8_are_one_line(project: Path, ssvh, command: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    (project / "params.yaml").write_bytes("# für mich\n".encode("latin-1"))
    error = ssvh(*command, status=2)
    assert error.startswith("error: params.yaml: can't be read ('utf-8' codec") and error.count("\n") == 1


def test_a_link_to_itself_is_left_out(project: Path, ssvh) -> None:  # type: ignore[no-untyped-def]
    (project / "clips/cats/loop.mp4").symlink_to("loop.mp4")
    (project / "clips/dogs/above").symlink_to(project / "clips")
    out = ssvh("encode", "clips", "--hasher", "./hasher")
    (line,) = [line for line in out.splitlines() if line.startswith("left out")]
    assert line.startswith(f"left out: {project}/clips/cats/loop.mp4: ")
    ssvh("index", "codes.h5", "--hasher", "./hasher")
    (project / "more").mkdir()
    (project / "more/loop.mp4").symlink_to("loop.mp4")
    (project / "clips/cats/0.mp4").rename(project / "more/new.mp4")
    out = ssvh("add", "more")
    assert f"left out: {project}/more/loop.mp4: " in out and out.endswith("index: 7 videos\n")


@pytest.mark.slow
def test_searching_imports_none_of_the_four_tools(project: Path, ssvh) -> None:  # type: ignore[no-untyped-def]
    ssvh("encode", "clips", "--hasher", "./hasher")
    ssvh("index", "codes.h5", "--hasher", "./hasher")
    program = """
import sys
from flows.cli.app import app
app(["search", "clips/cats/0.mp4", "-k", "1"], standalone_mode=False)
print(sorted({"mlflow", "prefect", "dvc", "optuna", "ruamel", "scipy", "matplotlib"} & set(sys.modules)))
"""
    output = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "cats/0" in output and output.endswith("[]\n")


def test_no_text_of_a_file_commands_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed é") == "a?[2Jb?c?d é"
