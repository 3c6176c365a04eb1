"""The presets as they are shipped, and what applying them does to params.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.errors import UserError
from tasks.params.load import load_params
from tasks.params.presets import all_presets, apply_presets, find_preset
from tasks.params.sections import Params

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params.yaml and presets."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def applied(*names: str, **changes: Any) -> Params:
    apply_presets(names, changes=changes)
    return load_params(Path("params.yaml"))


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("name", list(PUBLISHED_SETS))
def test_every_data_set_has_a_preset_with_its_protocol(name: str, bits: int) -> None:
    params = applied(name, **{"model.bits": bits})
    known = PUBLISHED_SETS[name]
    assert params.model.bits == bits
    assert params.corpus.source == "published" and params.corpus.published.dataset == name
    assert params.features.frames == known.frames
    assert params.corpus.split.validation == 0
    assert set(params.evaluate.query) <= set(known.splits)
    assert [count for round_ in params.rounds.values() for count in round_.clusters] == [250, 400, 600]


# method, section 7: mask ratio, batch, epochs, warm-up epochs, alpha, beta, tau_plus, dropout, floor of the
# rate
TABLE = {
    "activitynet": (0.5, 128, 800, 100, 0.2, 0.01, 0.05, 0.2, 1e-6),
    "fcvid": (0.75, 512, 805, 100, 0.2, 0.01, 0.1, 0.0, 1e-5),
    "ucf101": (0.5, 128, 350, 50, 1.0, 0.2, 0.1, 0.0, 1e-6),
    "hmdb51": (0.7, 128, 350, 50, 1.0, 0.2, 0.1, 0.0, 1e-6),
}


@pytest.mark.parametrize("name", list(TABLE))
def test_with_the_papers_model_every_value_is_that_of_the_paper(name: str) -> None:
    params = applied("paper", name)
    losses, training = params.losses, params.training
    assert TABLE[name] == (
        params.sampler.mask_ratio,
        training.batch_size,
        params.warmup.epochs + sum(round_.epochs for round_ in params.rounds.values()),
        params.warmup.epochs,
        losses.alpha,
        losses.beta,
        losses.tau_plus,
        params.model.feature_dropout,
        training.learning_rate_floor,
    )
    assert (training.learning_rate, training.step_epochs, training.step_factor) == (1e-4, 20, 0.9)
    model = params.model
    assert (model.layers, model.width, model.heads, model.center_features) == (12, 256, 6, False)
    assert (model.decoder_layers, model.position_scale, model.start) == (2, 1.0, "random")
    assert (model.pooling, model.code_noise, model.training_bits) == ("votes", 0.0, None)
    assert params.sampler.kind == "adversarial"
    assert (losses.reconstruction, losses.negatives, params.clustering.centres) == (1.0, "all", "voting")


def test_fcvid_keeps_its_self_matches_and_asks_every_video_of_the_database() -> None:
    evaluate = applied("fcvid").evaluate
    assert (evaluate.database, evaluate.query, evaluate.exclude_self) == (("database",), ("database",), False)


@pytest.mark.parametrize("name", ["ucf101", "hmdb51"])
def test_validation_videos_stay_in_the_database_of_training_videos(name: str) -> None:
    assert applied(name).evaluate.database == ("train", "validation")


def test_comments_quotes_and_all_else_stay() -> None:
    before = Path("params.yaml").read_text()
    applied("paper", "fcvid")
    after = Path("params.yaml").read_text()
    assert comments(after) == comments(before)
    assert after.count("\n\n") == before.count("\n\n")
    assert '\n  "1": {after: warmup, clusters: [250]' in after and '\n  "3": ' in after
    # What no preset names is the same, letter for letter.
    for line in before.splitlines():
        if line.startswith(
            ("seed:", "    labels_csv:", "  checkpoint_every:", "  videos_shown:", "  model:")
        ):
            assert line in after.splitlines()


def test_applying_again_changes_nothing() -> None:
    assert apply_presets(["paper", "ucf101"], changes={})
    text = Path("params.yaml").read_text()
    assert apply_presets(["paper", "ucf101"], changes={}) == []
    assert Path("params.yaml").read_text() == text


def test_the_changes_are_told_and_rounds_are_replaced_whole() -> None:
    lines = apply_presets(["hmdb51"], changes={"corpus.path": "/data/hmdb"})
    assert "corpus.source: arcade -> published" in lines
    assert "corpus.path: videos -> /data/hmdb" in lines
    assert set(load_params().rounds) == {"1", "2", "3"}
    Path("presets/none.yaml").write_text("# No clusters\nrounds: {}\n")
    assert "rounds: 3 -> 0 rounds" in apply_presets(["none"], changes={})
    assert load_params().rounds == {}


def test_the_list_has_a_line_each() -> None:
    presets = {preset.name: preset.description for preset in all_presets()}
    assert set(presets) == {"few-recordings", "paper", "wsch", *PUBLISHED_SETS}
    assert presets["fcvid"].startswith("FCVID: 45,585 training videos")
    assert find_preset("paper").text == (ROOT / "presets/paper.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {layerz: 2}", "presets/mine.yaml: model.layerz is not known; did you mean layers?"),
        ("zzz: 1", "presets/mine.yaml: zzz is not known; allowed are seed, running"),
        (
            "model: {layers: two}",
            "params.yaml with preset mine: model.layers is 'two'; allowed is a whole number",
        ),
        ("model: 3", "params.yaml with preset mine: model is 3"),
        (
            "sampler: {mask_ratio: 0.99}",
            "params.yaml with preset mine: sampler.mask_ratio is 0.99, which leaves 0",
        ),
        ('rounds: {"2": {after: warmup}}', "params.yaml with preset mine: rounds.2"),
        ("seed: [", "presets/mine.yaml, line 2: not YAML"),
        ("seed: 1\nseed: 2", "presets/mine.yaml, line 2"),
        ("# nothing", "presets/mine.yaml: is empty"),
    ],
)
def test_what_would_not_be_in_order_is_refused_and_nothing_is_written(text: str, message: str) -> None:
    Path("presets/mine.yaml").write_text(text)
    before = Path("params.yaml").read_text()
    with pytest.raises(UserError) as caught:
        apply_presets(["ucf101", "mine"][1:], changes={})
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    with pytest.raises(UserError):
        apply_presets(["ucf101", "mine"], changes={})
    assert Path("params.yaml").read_text() == before
    assert sorted(path.name for path in Path().iterdir()) == ["params.yaml", "presets"]


def test_the_papers_clusters_are_too_many_for_the_demo_corpus() -> None:
    with pytest.raises(UserError, match=r"with preset paper: rounds\.\d\.clusters has \d+, more than the"):
        apply_presets(["paper"], changes={})


def test_a_params_file_that_is_not_in_order_is_told_by_its_key() -> None:
    yaml = YAML()
    values = yaml.load(Path("params.yaml").read_text())
    values["running"]["device"] = "gpu"
    with open("params.yaml", "w") as file:
        yaml.dump(values, file)
    with pytest.raises(UserError, match=r"running\.device is 'gpu'"):
        apply_presets(["ucf101"], changes={})


@pytest.mark.parametrize(("bits", "what"), [(12, "multiple of 8"), (0, "from 8")])
def test_impossible_bits(bits: int, what: str) -> None:
    with pytest.raises(UserError, match=f"model.bits is {bits}; allowed is .*{what}"):
        apply_presets(["ucf101"], changes={"model.bits": bits})


def test_a_preset_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no preset is called 'ucf'; there are activitynet, fcvid"):
        apply_presets(["ucf"], changes={})
