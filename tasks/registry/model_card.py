"""The model card of a registered version: what it was made from, how good it is, what it is not for.
Markdown.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.manifest import SPLITS, Video

if TYPE_CHECKING:
    from ssvh_model.features import FeatureMeta
    from tasks.params.sections import Params

SHOWN_KS = ("5", "20", "100")
PICTURES = {
    "map_at_k.png": "MAP at K beside the yardsticks",
    "training.png": "Loss terms and validation GMAP over the epochs",
    "precision_recall.png": "Precision and recall over the Hamming radius",
    "sampler.png": "State of the sampler over the epochs",
    "bits.png": "Balance and correlation of the bits",
}
SHOWN_PICTURES = ("map_at_k.png", "training.png")  # in the short card; the page has all
FEW_QUERIES = 200


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        model, version: of the registry.
        params: params.yaml.
        evaluation: content of metrics/evaluation.json.
        videos: the manifest of the features.
        shape: of the features, [videos, M, D].
        features: how they were made.
        lineage: name -> value or Markdown link.
        megabytes: of the hasher's files.
    """

    model: str
    version: str
    params: Params
    evaluation: Mapping[str, Any]
    videos: Iterable[Video]
    shape: tuple[int, int, int]
    features: FeatureMeta
    lineage: Mapping[str, str]
    megabytes: float


def model_card(facts: CardFacts, picture: Callable[[str], str | None], pictures: Iterable[str]) -> str:
    """The card.

    Args:
        facts: what it says.
        picture: address of a picture; None where it was not drawn.
        pictures: names of those that are shown.
    """
    bits = facts.evaluation["bits"]
    parts = [
        f"# {facts.model} version {facts.version}",
        f"Turns a video ({facts.shape[1]} frame features of {facts.shape[2]} numbers) into a code of {bits} bits; near codes are alike videos. "
        "Trained without labels: AutoSSVH (Lian et al., CVPR 2025).",
        "## Quality",
        *_quality(facts.evaluation),
        _selected(facts),
        "## Curves",
        *_pictures(picture, pictures),
        "## Checks",
        _checks(facts.evaluation),
        "## Data",
        *_data(facts),
        "## Parameters",
        *_parameters(facts),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(facts)),
        "## Lineage",
        "\n".join(f"- {name}: {value}" for name, value in facts.lineage.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _selected(facts: CardFacts) -> str:
    selection = facts.evaluation["selection"]
    return f"Its weights are those of {selection['text']} (`selection: {facts.params.selection}`)."


def _quality(evaluation: Mapping[str, Any]) -> list[str]:
    if evaluation["gmap"] is None:
        return [f"Not measured: {evaluation['reasons']['gmap']}."]
    text = f"{evaluation['n_query']} queries against {evaluation['n_database']} database videos; training has not seen the queries."
    tables = [_quality_table("", evaluation)]
    if evaluation.get("fine") and evaluation["fine"]["gmap"] is not None:
        tables.append(_quality_table(" by the finer labels", evaluation["fine"]))
    return [text, *tables]


def _quality_table(what: str, part: Mapping[str, Any]) -> str:
    rows = {
        "this hasher": part,
        "ITQ, same bits, no training": part["yardsticks"]["itq"],
        "float features, no hashing": part["yardsticks"]["float"],
    }
    head = [f"retrieval{what}", "GMAP", *(f"MAP@{k}" for k in SHOWN_KS)]
    lines = [head, ["---"] * len(head)]
    for name, row in rows.items():
        at_k = row["map_at_k"] or {}
        lines.append([name, _figure(row["gmap"]), *(_figure(at_k.get(k)) for k in SHOWN_KS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pictures(picture: Callable[[str], str | None], names: Iterable[str]) -> list[str]:
    shown = [f"![{PICTURES[name]}]({address})" for name in names if (address := picture(name)) is not None]
    return shown or ["None were drawn."]


def _checks(evaluation: Mapping[str, Any]) -> str:
    checks = evaluation.get("checks")
    if checks is None:
        return "The failure checks were not run."
    if not checks["raised"]:
        measured = [name for name, one in checks["states"].items() if one["state"] != "not measured"]
        return f"None of {len(measured)} failure checks was raised at the end of the training."
    # "<number>" in a warning would be taken for HTML.
    raised = "\n".join(f"- **raised**: {html.escape(warning, quote=False)}" for warning in checks["warnings"])
    if evaluation["selection"]["state"] == "start":
        return f"Of the end of the training, whose weights are not these:\n\n{raised}"
    return raised


def _data(facts: CardFacts) -> list[str]:
    corpus = facts.params.corpus
    source = {
        "arcade": "demo corpus: rendered gameplay clips of Atari games, distorted like re-uploads",
        "folder": f"videos of the folder `{corpus.path}`",
        "published": f"published features of {corpus.published.dataset}",
    }[corpus.source]
    videos = list(facts.videos)
    used = Counter(video.split for video in videos if video.usable)
    splits = ", ".join(f"{used[split]} {split}" for split in SPLITS if used[split])
    labels = len({label for video in videos for label in video.labels})
    features = facts.features
    made = f"`{features.backbone}` at {features.size} pixels" if features.backbone else "an unknown backbone"
    if features.weights_sha256:
        made += f", run by {features.engine} in {features.precision}"
    return [
        "\n".join(
            f"- {line}"
            for line in (
                f"{source}, {len(videos)} files, {len(videos) - used.total()} of them left out",
                f"videos: {splits}; {labels} labels, which training does not see",
                f"features: {facts.shape[1]} frames a video by {made}, weights `{features.weights_sha256[:12] or '-'}`",
            )
        )
    ]


def _parameters(facts: CardFacts) -> list[str]:
    params = facts.params
    model, losses = params.model, params.losses
    rounds = "; ".join(
        f"{', '.join(map(str, one.clusters))} clusters for {one.epochs} epochs"
        for one in params.rounds.values()
    )
    evened = ""
    if losses.evened is not None and model.start == "itq" and model.within_video is not None:
        evened = f" (alpha x {losses.evened.alpha:g}, gamma x {losses.evened.gamma:g} where the start evens out what changes within videos)"
    lines = (
        f"encoder: {model.encoder.replace('_', ' ')}, {model.layers} layer{'s' * (model.layers > 1)}, width {model.width}, {model.heads} heads; codes pooled by {model.pooling}; "
        f"start: {model.start}; {facts.megabytes:.1f} MB",
        f"sampler: {params.sampler.kind}, {params.sampler.mask_ratio:.0%} of the frames hidden",
        f"losses: reconstruction {losses.reconstruction:g}, alpha {losses.alpha:g}, beta {losses.beta:g}, gamma {losses.gamma:g}{evened}",
        f"training: {params.warmup.epochs} epochs of warm-up; {rounds or 'no rounds with clusters'}; "
        f"batches of {params.training.batch_size}, learning rate {params.training.learning_rate:g}; seed {params.seed}",
    )
    return ["\n".join(f"- {line}" for line in lines), "All of them: `params.yaml` among the run's artifacts."]


def _limits(facts: CardFacts) -> list[str]:
    evaluation, params = facts.evaluation, facts.params
    lines = [
        "Codes can be compared with codes of this version only.",
        f"It takes {facts.shape[1]} frames, evenly in time, through the backbone above; features of another one give meaningless codes.",
    ]
    if params.corpus.source == "arcade":
        lines.append("Trained on rendered games: a demonstration, not for camera videos.")
    if params.corpus.source == "published":
        queries = PUBLISHED_SETS[params.corpus.published.dataset].splits
        lines.append(f"Only features are known of its videos ({', '.join(queries)}), so it can't take files.")
    gmap, itq = evaluation["gmap"], evaluation["yardsticks"]["itq"]["gmap"]
    if gmap is None:
        lines.append("How well it finds videos is not known.")
    elif itq is not None and gmap < itq:
        lines.append("**It is worse than ITQ**, which needs no training.")
    if gmap is not None and evaluation["n_query"] < FEW_QUERIES:
        lines.append(f"{evaluation['n_query']} queries leave hundredths of GMAP to chance.")
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
