"""params.yaml as it is shipped, and many ways to get it wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.errors import UserError
from tasks.params.load import load_params
from tasks.params.sections import Params

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
MISSING = "<taken out>"


def message(tmp_path: Path, content: Any) -> str:
    """The one line that loading `content` ends with."""
    path = tmp_path / "params.yaml"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        with open(path, "w", encoding="utf-8") as file:
            YAML().dump(content, file)
    with pytest.raises(UserError) as caught:
        load_params(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path)).removeprefix(": ")


def changed(key: str, value: Any) -> dict[Any, Any]:
    """The shipped parameters with one key set, or taken out."""
    content = copy.deepcopy(SHIPPED)
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    if value is MISSING:
        del section[last]
    else:
        section[last] = value
    return content


def load(tmp_path: Path, content: dict[Any, Any]) -> Params:
    path = tmp_path / "params.yaml"
    with open(path, "w", encoding="utf-8") as file:
        YAML().dump(content, file)
    return load_params(path)


def test_the_shipped_parameters_are_in_order() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.last_state == f"round-{len(params.rounds)}"
    assert params.states[0] == "warmup"
    assert params.states[-1] == params.last_state


def test_without_rounds_the_last_state_is_the_warm_up(tmp_path: Path) -> None:
    params = load(tmp_path, changed("rounds", {}))
    assert params.last_state == "warmup"
    assert params.states == ["warmup"]


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    assert load(tmp_path, changed("losses.alpha", 1)).losses.alpha == 1.0


def test_parameters_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(ROOT / "params.yaml").seed = 2  # type: ignore[misc]


# key, value, what the message must hold beside the key
ONE_WRONG_VALUE = [
    ("warmup.epochs", 10**18, ["up to 100000"]),
    ("rounds.1.epochs", 10**18, ["up to 100000"]),
    ("seed", -1, ["-1", "whole number from 0"]),
    ("seed", "one", ["'one'", "whole number"]),
    ("seed", True, ["True", "whole number"]),
    ("seed", None, ["empty", "whole number"]),
    ("seed", 1.5, ["1.5", "whole number"]),
    ("seed", MISSING, ["missing", "whole number"]),
    ("running.device", "gpu", ["'gpu'", "auto | cpu | cuda"]),
    ("running.workers", -1, ["-1", "from 0"]),
    ("corpus.source", "youtube", ["'youtube'", "arcade | folder | published"]),
    ("corpus.path", "", ["''", "not empty"]),
    ("corpus.arcade.games", 94, ["94", "2 up to 93"]),
    ("corpus.arcade.bad_frames", 0.6, ["0.6", "0 up to 0.5"]),
    ("corpus.folder.columns.label", 3, ["3", "text or null"]),
    ("corpus.published.dataset", "kinetics", ["'kinetics'", "activitynet | fcvid | ucf101 | hmdb51"]),
    ("corpus.published.counts", False, ["False", "check | ignore"]),
    ("corpus.split.query_groups", "16", ["'16'", "list of texts"]),
    ("corpus.split.query_groups", [16], ["16", "list of texts"]),
    ("features.frames", 1, ["1", "from 2"]),
    ("model.bits", 12, ["12", "multiple of 8"]),
    ("model.bits", "64", ["'64'", "whole number"]),
    ("model.training_bits", 100, ["100", "multiple of 8"]),
    (
        "model.training_bits",
        32,
        ["model.training_bits is 32; allowed is from model.bits on, which is 64, by_length or null"],
    ),
    ("model.heads", 0, ["0", "from 1"]),
    ("model.feature_dropout", 1.0, ["1.0", "below 1"]),
    ("model.code_noise", -0.5, ["-0.5", "from 0"]),
    (
        "model.whitening",
        1.5,
        ["model.whitening is 1.5; allowed is auto | by_length or a number from 0 up to 1"],
    ),
    (
        "model.whitening",
        "most",
        ["model.whitening is 'most'; allowed is auto | by_length or a number from 0 up to 1"],
    ),
    ("model", 3, ["3", "section"]),
    ("model", MISSING, ["missing"]),
    ("features.engine", "tensorrt", ["'tensorrt'", "auto | torch | openvino | onnxruntime"]),
    ("features.precision", "float16", ["'float16'", "auto | float32 | bfloat16"]),
    (
        "features.backbone",
        "resnet50",
        [
            "'resnet50'; allowed are efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, timm/<model> and the path of"
        ],
    ),
    ("features.backbone", "timm/", ["'timm/'", "timm/<model>"]),
    ("features.own.mean", [0.5, 0.5], ["features.own.mean.2 is missing; needed is a list of 3 numbers"]),
    (
        "features.own.std",
        [1.0, 0.0, 1.0],
        ["features.own.std.1 is 0.0; allowed is a list of 3 numbers above 0"],
    ),
    ("features.own.colours", "yuv", ["'yuv'", "rgb | bgr"]),
    ("features.own.architecture", 3, ["3", "text or null"]),
    ("running.trust_torchscript", "yes", ["'yes'", "true or false"]),
    ("sampler.kind", "clever", ["'clever'", "adversarial | cooperative | random | shuffled"]),
    ("sampler.mask_ratio", 1, ["1", "above 0 and below 1"]),
    ("sampler.mask_ratio", 0, ["0", "above 0 and below 1"]),
    ("losses.beta", -0.1, ["-0.1", "from 0"]),
    ("losses.reconstruction", -1.0, ["-1.0", "from 0"]),
    ("losses.negatives", "some", ["some", "all | repeated"]),
    ("clustering.centres", "mean", ["mean", "voting | kmeans"]),
    ("losses.alpha", float("nan"), ["nan", "number"]),
    ("losses.alpha", float("inf"), ["inf", "number"]),
    ("training.learning_rate", 0, ["0", "above 0"]),
    ("rounds", None, ["empty", "section"]),
    ("rounds", [1], ["[1]", "section"]),
    ("rounds.1", 5, ["5", "section"]),
    ("rounds.1.clusters", 20, ["20", "list of whole numbers"]),
    ("rounds.1.clusters", [], ["[]", "not empty"]),
    ("rounds.1.epochs", MISSING, ["missing", "whole number"]),
    ("evaluate.database", ["test"], ["'test'", "train | validation | database | query"]),
    ("evaluate.query", ["train"], ["'train'", "query | database"]),
    ("evaluate.query", [], ["[]", "not empty"]),
    ("evaluate.exclude_self", "yes", ["'yes'", "true or false"]),
    ("register.alias", "", ["''", "not empty"]),
]


@pytest.mark.parametrize(("key", "value", "parts"), ONE_WRONG_VALUE, ids=lambda value: str(value)[:30])
def test_a_wrong_value_names_the_key_and_what_is_allowed(
    tmp_path: Path, key: str, value: Any, parts: list[str]
) -> None:
    text = message(tmp_path, changed(key, value))
    assert text.startswith(key)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("sed", "seed"),
        ("model.bit", "bits"),
        ("rounds.2.epoch", "epochs"),
        ("training.learningrate", "learning_rate"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(tmp_path: Path, key: str, meant: str) -> None:
    assert message(tmp_path, changed(key, 1)) == f"{key} is not known; did you mean {meant}?"


def test_an_unknown_key_like_none_lists_the_known(tmp_path: Path) -> None:
    text = message(tmp_path, changed("warmup.zzz", 1))
    assert text == "warmup.zzz is not known; allowed are epochs"


def test_a_misspelt_key_is_named_before_the_one_that_it_leaves_missing(tmp_path: Path) -> None:
    content = changed("warmup.epochs", MISSING)
    content["warmup"]["epoch"] = 3
    assert message(tmp_path, content).startswith("warmup.epoch is not known")


TOGETHER = [
    ("sampler.mask_ratio", 0.99, ["sampler.mask_ratio", "0.99", "leaves 0", "features.frames"]),
    ("corpus.split.query", 0.9, ["corpus.split", "below 1"]),
    ("training.learning_rate_floor", 1.0, ["training.learning_rate_floor", "training.learning_rate"]),
    ("rounds.1.after", "round-1", ["rounds.1.after", "'round-1'", "allowed is warmup"]),
    ("rounds.2.after", "warmup", ["rounds.2.after", "'warmup'", "allowed is round-1"]),
    (
        "rounds.1.clusters",
        [100_000],
        ["rounds.1.clusters", "100000", "training videos", "corpus.arcade.clips"],
    ),
    ("rounds.1.clusters", [20, 20], ["rounds.1.clusters", "[20, 20]", "once"]),
    ("rounds.1.clusters", [1], ["rounds.1.clusters", "from 2"]),
    ("evaluate.database", ["train", "train"], ["evaluate.database", "once"]),
    ("evaluate.query", ["query", "query"], ["evaluate.query", "once"]),
]


@pytest.mark.parametrize(("key", "value", "parts"), TOGETHER, ids=lambda value: str(value)[:30])
def test_values_that_do_not_fit_together(tmp_path: Path, key: str, value: Any, parts: list[str]) -> None:
    text = message(tmp_path, changed(key, value))
    for part in parts:
        assert part in text


def test_a_precision_that_the_engine_does_not_have(tmp_path: Path) -> None:
    content = changed("features.engine", "onnxruntime")
    content["features"]["precision"] = "bfloat16"
    assert message(tmp_path, content) == (
        "features.precision is bfloat16, which features.engine onnxruntime does not have; allowed are float32 and auto"
    )


EITHER = "allowed is whole | shots, a section of seconds and overlap or a section of threshold"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("shot", f"index.segments is 'shot'; {EITHER}"),
        (3, f"index.segments is 3; {EITHER}"),
        ({"threshold": 0}, "index.segments.threshold is 0; allowed is a number above 0 up to 100"),
        ({"threshold": "low"}, "index.segments.threshold is 'low'; allowed is a number above 0 up to 100"),
        ({"threshold": 8, "overlap": 0.5}, "index.segments.overlap is not known; allowed are threshold"),
        ({"seconds": 0, "overlap": 0.5}, "index.segments.seconds is 0; allowed is a number above 0"),
        ({"seconds": 10}, "index.segments.overlap is missing; needed is a number from 0 up to 0.95"),
    ],
)
def test_how_films_are_cut_is_said_in_one_of_four_ways(tmp_path: Path, value: object, said: str) -> None:
    assert message(tmp_path, changed("index.segments", value)) == said


def test_a_selection_needs_what_it_compares(tmp_path: Path) -> None:
    assert message(tmp_path, changed("selection", "best")) == (
        "selection is 'best'; allowed is auto | label_free | labels | end"
    )
    content = changed("selection", "label_free")
    assert load(tmp_path, content).selection == "label_free"
    content["model"]["start"] = "random"
    assert message(tmp_path, content).startswith("selection is label_free, which compares")
    content = changed("selection", "labels")
    content["corpus"]["split"]["validation"] = 0.0
    assert message(tmp_path, content).startswith(
        "selection is labels, but corpus.split leaves no validation videos"
    )
    content["corpus"]["source"] = "folder"
    assert load(tmp_path, content).selection == "labels"


OWN_MODELS = [
    ("/models/mine.onnx", {}, "allowed is a file in the folder backbones"),
    ("models/mine.onnx", {}, "allowed is a file in the folder backbones"),
    ("backbones/../mine.onnx", {}, "allowed is a file in the folder backbones"),
    ("backbones/gone.onnx", {}, "features.backbone is backbones/gone.onnx; there is no such file"),
    ("backbones/mine.pth", {}, "'backbones/mine.pth'; allowed are efficientnet_lite0"),
    ("backbones/mine.onnx", {"engine": "torch"}, "features.engine is torch, which does not run backbones/mine.onnx; allowed are"),
    ("backbones/mine.safetensors", {}, "features.own.architecture is null, and backbones/mine.safetensors holds weights alone"),
    ("backbones/mine.safetensors", {"own": {"architecture": "resnet"}}, "features.own.architecture is resnet"),
    ("backbones/mine.onnx", {"own": {"architecture": "efficientnet_lite0"}}, "allowed is null"),
    ("backbones/mine.pt", {}, "a program that would run here with all that you may do; allowed is that with running.trust_torchscript: true"),
]  # fmt: skip


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's folder with model files."""
    monkeypatch.chdir(tmp_path)
    Path("backbones").mkdir()
    for ending in ("onnx", "safetensors", "pt", "pth"):
        Path(f"backbones/mine.{ending}").touch()


def with_own_model(backbone: str, changes: dict[str, Any]) -> dict[Any, Any]:
    content = changed("features.backbone", backbone)
    for key, value in changes.items():
        if isinstance(value, dict):
            content["features"][key].update(value)
        else:
            content["features"][key] = value
    return content


@pytest.mark.parametrize(("backbone", "changes", "said"), OWN_MODELS)
def test_a_model_of_one_s_own_that_can_not_be_used(
    tmp_path: Path, own_models: None, backbone: str, changes: dict[str, Any], said: str
) -> None:
    assert said in message(tmp_path, with_own_model(backbone, changes))


def test_models_of_one_s_own_that_can_be_used(tmp_path: Path, own_models: None) -> None:
    assert load(tmp_path, with_own_model("backbones/mine.onnx", {})).features.own.colours == "rgb"
    load(
        tmp_path,
        with_own_model("backbones/mine.safetensors", {"own": {"architecture": "efficientnet_lite1"}}),
    )
    trusted = with_own_model("backbones/mine.pt", {})
    trusted["running"]["trust_torchscript"] = True
    load(tmp_path, trusted)


def test_a_group_on_two_sides(tmp_path: Path) -> None:
    content = changed("corpus.split.query_groups", ["16", "17"])
    content["corpus"]["split"]["validation_groups"] = ["17"]
    assert "'17'" in message(tmp_path, content)


def test_cluster_counts_are_left_to_the_stage_where_the_number_of_videos_is_not_known(tmp_path: Path) -> None:
    content = changed("rounds.1.clusters", [100_000])
    content["corpus"]["source"] = "folder"
    assert load(tmp_path, content).rounds["1"].clusters == (100_000,)


def test_the_splits_of_an_evaluation_must_be_those_of_the_published_data_set(tmp_path: Path) -> None:
    content = changed("corpus.source", "published")
    text = message(tmp_path, content)
    assert text.startswith("evaluate.query is ['query'], but the videos of fcvid are in train and database")
    assert "`ssvh preset apply fcvid`" in text
    content["evaluate"]["query"] = ["database"]
    assert load(tmp_path, content).evaluate.query == ("database",)


def test_published_features_are_on_this_machine(tmp_path: Path) -> None:
    content = changed("corpus.path", "s3://corpus/fcvid")
    assert load(tmp_path, content).corpus.path == "s3://corpus/fcvid"
    content["corpus"]["source"] = "published"
    assert message(tmp_path, content).startswith(
        "corpus.path is s3://corpus/fcvid; allowed for corpus.source published is a folder of this machine"
    )


def test_every_published_data_set_can_be_chosen(tmp_path: Path) -> None:
    content = changed("corpus.source", "published")
    content["evaluate"]["query"] = ["query", "database"]
    for name in PUBLISHED_SETS:
        content["corpus"]["published"]["dataset"] = name
        assert load(tmp_path, content).corpus.published.dataset == name


def test_rounds_must_be_numbered_in_their_order(tmp_path: Path) -> None:
    content = changed("rounds.3", SHIPPED["rounds"]["2"])
    del content["rounds"]["2"]
    assert message(tmp_path, content).startswith("rounds.3 is round 2")


def test_unquoted_round_numbers_are_refused_because_dvc_would_skip_them_in_silence(tmp_path: Path) -> None:
    content = changed("rounds", {1: SHIPPED["rounds"]["1"]})
    text = message(tmp_path, content)
    assert text.startswith("rounds.1")
    assert '"1"' in text


BAD_FILES = [
    ("seed: 1\nseed: 2\n", ["line 2", "duplicate key"]),
    ("seed: [1\n", ["line", "not YAML"]),
    ("a: b: c\n", ["line 1", "not YAML"]),
    ("\tseed: 1\n", ["line 1", "not YAML"]),
    ("", ["empty"]),
    ("- 1\n", ["[1]", "sections"]),
    ("just text\n", ["'just text'"]),
]


@pytest.mark.parametrize(("text", "parts"), BAD_FILES, ids=lambda value: repr(value)[:20])
def test_a_file_that_is_no_mapping_of_sections(tmp_path: Path, text: str, parts: list[str]) -> None:
    found = message(tmp_path, text)
    for part in parts:
        assert part in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_params(tmp_path / "params.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00seed: 1")
    with pytest.raises(UserError, match="can't be read"):
        load_params(tmp_path / "params.yaml")


def test_a_state_space_encoder_needs_its_width_and_random_weights(tmp_path: Path) -> None:
    content = changed("model.encoder", "state_space")
    assert message(tmp_path, content) == (
        "model.start is itq, which writes the weights of a transformer; allowed with model.encoder state_space is random"
    )
    content["model"]["start"] = "random"
    assert load(tmp_path, content).model.encoder == "state_space"
    content["model"]["width"] = 100
    assert message(tmp_path, content) == (
        "model.width is 100; allowed with model.encoder state_space are multiples of 8"
    )
