"""Write docs/explanation/findings.md from the committed results alone.

    python benchmarks/findings.py

`make findings` measures everything again first. What the text says of the figures is worked out from them, so
that it can't go stale.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssvh_model.files import atomic_path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "explanation" / "findings.md"
LINE = 104
KINDS = ("static", "black", "blurred", "duplicated", "foreign")

HEAD = """# Three questions that the paper leaves open

Measured, not argued. `make findings` runs the three benchmarks and writes this file from their results in `benchmarks/results/`; nothing here is typed by
hand. Timings are ratios to trust and seconds to take with care: each section says what machine they are of.
"""


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_line(result: dict[str, Any]) -> str:
    machine = result["machine"]
    shared = "shared with other work" if machine["shared_with_other_work"] else "with little else to do"
    device = machine["gpu"] or f"{machine['cores']} cores ({machine['processor']}), no GPU"
    load_average = machine["load_average_at_the_end"]
    return f"{device}, {shared} (load average {load_average:g} at the end); torch {machine['torch']}, faiss {machine['faiss']}"


def clustering(result: dict[str, Any]) -> str:
    networks, rows = result["networks"], result["rows"]
    sizes = sorted({row["videos"] for row in rows})
    counts = sorted({row["clusters"] for row in rows})

    def cell(videos: int, count: int) -> dict[str, Any]:
        return next(row for row in rows if row["videos"] == videos and row["clusters"] == count)

    def share(videos: int, network: dict[str, Any]) -> float:
        return max(float(cell(videos, count)["share_of_an_epoch"][network["network"]]) for count in counts)

    names = [f"{one['layers']} layer{'s' * (one['layers'] > 1)}, D {one['feature_size']}" for one in networks]
    lines = [
        [
            f"{videos:,}",
            *(f"{cell(videos, count)['counted_seconds']:.1f}" for count in counts),
            *(f"{share(videos, network):.2%}" for network in networks),
        ]
        for videos in sizes
    ]
    header = [
        "training videos",
        *(f"{count} centres, seconds" for count in counts),
        *(f"largest share of an epoch, {name}" for name in names),
    ]
    speeds = [
        [
            name,
            f"{one['training_videos_a_processor_second']:.0f}",
            f"{one['training_videos_a_processor_second'] / one['encoding_share_of_an_epoch']:.0f}",
            f"{one['encoding_share_of_an_epoch']:.0%}",
        ]
        for name, one in zip(names, networks, strict=True)
    ]
    largest = sizes[-1]
    shares = [share(largest, network) for network in networks]
    encoding = [one["encoding_share_of_an_epoch"] for one in networks]
    worst = max(share(videos, network) for videos in sizes for network in networks)
    growth = cell(largest, counts[-1])["counted_seconds"] / cell(sizes[-2], counts[-1])["counted_seconds"]
    refreshes, every = result["refreshes"], result["refresh_every"]
    refresh_lines = [
        [
            f"{refresh['videos']:,}",
            f"{refresh['clustering_counted_seconds']:.1f}",
            *(f"{refresh['share_of_the_next_epochs'][network['network']]:.1%}" for network in networks),
        ]
        for refresh in refreshes
    ]
    refresh_header = [
        "training videos",
        f"clustering with {', '.join(str(count) for count in counts)} centres, seconds",
        *(f"refresh, share of the next {every} epochs, {name}" for name in names),
    ]
    dearest = [
        max(refresh["share_of_the_next_epochs"][network["network"]] for refresh in refreshes)
        for network in networks
    ]
    dear = "encoding" if min(encoding) > max(shares) else "clustering"
    return f"""## Does clustering limit the size of the training set?

{"No" if worst < 0.1 else "It can"}. With {largest:,} videos one clustering costs at most {max(shares):.1%} of an epoch, and over all sizes at most {worst:.1%}. k-means looks at no more than
{result["points_per_centroid"]} videos a centre, so above {result["points_per_centroid"] * counts[-1]:,} videos only the last assignment and the voting grow: from {sizes[-2]:,} to {largest:,} videos the seconds grow by a factor of
{growth:.1f}, not {largest / sizes[-2]:.0f}. A refresh also has to encode every video with all its frames visible, which costs {min(encoding):.0%} to {max(encoding):.0%} of an epoch: the dear part of a refresh is the {dear}.
`refresh_every` is the setting that divides both.

These are shares of training on a CPU. A GPU that trains f times faster while faiss stays on the CPU makes the clustering's share f times larger; that was not measured here.

{table(header, lines)}

Codes of {result["bits"]} bits, {result["iterations"]} iterations, {result["restarts"]} restarts, at most {result["points_per_centroid"]} videos a centre. The codes are made up (around 2,000 prototypes); the clusterings really
ran at every size. Seconds and shares are of processor time, which other work on the machine changes little. The epoch is extrapolated from {result["timed_videos"]} videos that
were trained on in the same run, in {result["precision"]}.

Within a round a clustering goes on from the last one, with one run instead of {result["restarts"]}. Such a refresh, with all counts and encoding included, costs
{" and ".join(f"at most {share:.1%} of the epochs until the next one ({name})" for name, share in zip(names, dearest, strict=True))} at the
`refresh_every` of `params.yaml`, {every}; a preset that refreshes every epoch, as in the paper, pays {every} times that:

{table(refresh_header, refresh_lines)}

{table(["encoder", "trained on, videos a second", "encoded, videos a second", "encoding all, share of an epoch"], speeds)}

![Share of an epoch over the number of videos](../images/findings-clustering.png)

`benchmarks/clustering_cost.py`; {machine_line(result)}.
"""


def sampler(result: dict[str, Any]) -> str:
    rows = result["rows"]

    def rates(row: dict[str, Any]) -> list[str]:
        return [f"{row['selection_rate'][name]:.3f}" for name in ("good", "bad", *KINDS)]

    lines = [[row["sampler"], f"{row['delta']:g}", f"{row['gumbel']:g}", *rates(row)] for row in rows]
    header = ["sampler", "delta", "Gumbel", "good", "bad", *KINDS]

    related = [
        [
            row["sampler"],
            f"{row['delta']:g}",
            f"{row['gumbel']:g}",
            f"{row['score_spread']:.3f}",
            *(
                f"{row['score_correlation'][name][frames]:+.2f}"
                for name in ("sharpness", "motion", "reconstruction error")
                for frames in ("all frames", "good frames only")
            ),
        ]
        for row in rows
        if row["score_correlation"]
    ]
    related_header = [
        "sampler",
        "delta",
        "Gumbel",
        "spread",
        "sharpness",
        "good only",
        "motion",
        "good only",
        "error",
        "good only",
    ]

    def of(kind: str, *, gumbel: float, delta: float) -> dict[str, Any]:
        return next(
            row
            for row in rows
            if row["sampler"] == kind and row["gumbel"] == gumbel and row["delta"] == delta
        )

    quietest = min(row["gumbel"] for row in rows)
    against, along = (of(kind, gumbel=quietest, delta=0.0) for kind in ("adversarial", "cooperative"))
    loudest = max(row["delta"] for row in rows)
    drowned = max(
        abs(row["selection_rate"]["good"] - row["selection_rate"]["bad"])
        for row in rows
        if row["delta"] == loudest
    )
    random = next(row for row in rows if row["sampler"] == "random")
    errors = random["relative_error"]
    of_error, of_sharpness, of_motion = (
        abs(against["score_correlation"][name]["good frames only"])
        for name in ("reconstruction error", "sharpness", "motion")
    )
    leads = (
        "It follows the reconstruction error, far more than what a frame looks like"
        if of_error > 2 * max(of_sharpness, of_motion)
        else "What it follows is not clear"
    )
    bad_for_it = against["selection_rate"]["bad"] > against["selection_rate"]["good"]
    meaning = (
        "So hard is not rich: on material with faults that are easy to reconstruct, the adversary feeds them to the encoder."
        if bad_for_it
        else "Here that keeps faults away from the encoder."
    )
    hardest = max(KINDS, key=lambda kind: errors[kind])
    easiest = min(KINDS, key=lambda kind: errors[kind])
    return f"""## Does the sampler pick rich frames, or noise?

{leads}. The adversary gets its way by *hiding* frames that can't be reconstructed from the others, so these are
shown less: with little noise (Gumbel {quietest:g}, delta 0) it shows {_side(against)}; among the planted faults it shows {_order(against)}.
The cooperative sampler wants the opposite and shows {_side(along)}; {_order(along)}.
With {hardest} frames the error is {errors[hardest]:.2f} times the mean of their video and with {easiest} ones {errors[easiest]:.2f} times (random sampler), which is what the scores react to:
not every bad frame is a hard one. {meaning} Among good frames the adversary's score has a rank correlation of {_among_good(against, "reconstruction error")} with the error, {_among_good(against, "sharpness")} with
sharpness and {_among_good(against, "motion")} with motion.

Noise decides how much of that is left. With delta {loudest:g} the selection rates of good and bad frames differ by at most {drowned:.3f}: the choice is uniform in effect, whatever
Grade-Net says. The authors' released code uses delta 10.

{table(header, lines)}

How often a frame is shown, over {result["videos"]} training videos of the demo corpus with {result["frames"]["good"]:,} good and {sum(result["frames"][kind] for kind in KINDS):,} planted bad frames, {random["selection_rate"]["good"]:.0%} of the frames visible, after
{result["epochs"]} epochs of warm-up, one seed.

{table(related_header, related)}

Rank correlation of Grade-Net's score with the sharpness of the thumbnail (standard deviation of its Laplacian), its motion (mean difference to its neighbours) and the
reconstruction error of the frame while it is hidden, within a video, averaged over the videos. A high score means shown.

![Selection rates by kind of frame](../images/findings-sampler.png)

`benchmarks/sampler_picks.py`; {machine_line(result)}.
"""


def _side(row: dict[str, Any]) -> str:
    good, bad = row["selection_rate"]["good"], row["selection_rate"]["bad"]
    side = "good frames more often" if good > bad else "bad frames more often"
    return f"{side} ({good:.2f} of the draws for a good one, {bad:.2f} for a bad one)"


def _among_good(row: dict[str, Any], figure: str) -> str:
    return f"{row['score_correlation'][figure]['good frames only']:+.2f}"


def _order(row: dict[str, Any]) -> str:
    rates = row["selection_rate"]
    most, least = max(KINDS, key=lambda kind: rates[kind]), min(KINDS, key=lambda kind: rates[kind])
    return f"{most} ones most ({rates[most]:.2f}) and {least} ones least ({rates[least]:.2f})"


def on_the_fly(result: dict[str, Any]) -> str:
    rates, gmaps = result["videos_a_processor_second"], {row["what"]: row["gmap"] for row in result["gmap"]}
    stored = gmaps["trained on stored, codes of stored"]
    same = abs(gmaps["trained on stored, codes of float32"] - stored)
    retrained = abs(gmaps["trained on float32, codes of float32"] - stored)
    seed = abs(gmaps["trained on stored, next seed, codes of stored"] - stored)
    slower = rates["training on stored features"] / rates["training with extraction in each epoch"]
    serving = rates["encoding from stored features"] / rates["encoding from raw video"]
    small = retrained <= 2 * seed
    quality = (
        "no difference that can be told from chance"
        if small
        else "a difference that another seed does not make"
    )
    verdict = "which is no more than twice what" if small else "which is more than twice what"
    return f"""## Do features have to be stored?

For speed, yes. For quality, features stored as float16 or fresh ones in float32 make {quality}. Extracting them again in every epoch makes training {slower:.0f} times slower. Encoding a
corpus from raw video is {serving:.0f} times slower than from stored features; nearly all of that is the backbone, which every video has to pass once either way.

With one hasher, {result["share_of_bits_that_differ"]:.3%} of the bits differ between codes of stored and of fresh features, and GMAP by {same:.4f}. Training on float32 from the same seed changes GMAP by {retrained:.4f},
{verdict} another seed does ({seed:.4f}; one pair of seeds, so this is a rough measure of chance).

{table(["step", "videos a second of processor time"], [[name, f"{rate:.1f}"] for name, rate in rates.items()])}

{table(["codes", "GMAP"], [[name, f"{value:.4f}"] for name, value in gmaps.items()])}

{result["videos"]} clips of the demo corpus, {result["frames"]} frames of {result["side"]} pixels a video, {result["backbone"]}, {result["bits"]} bits, {result["epochs"]} epochs (fewer than `make run` has, so GMAP is lower). Decoding and backbone take turns here; the stage `features`
overlaps them. Gradients end at the features in both cases: the backbone is not trained, so this says what extraction costs, not what training it would bring.

![Videos a second](../images/findings-on-the-fly.png)

`benchmarks/on_the_fly.py`; {machine_line(result)}.
"""


def document() -> str:
    """The whole document."""
    parts = [
        HEAD,
        clustering(load("clustering_cost")),
        sampler(load("sampler_picks")),
        on_the_fly(load("on_the_fly")),
    ]
    return "\n\n".join(map(wrapped, "\n".join(parts).split("\n\n")))


def wrapped(block: str) -> str:
    """A block of the document in lines of at most `LINE` characters, if it is prose."""
    if block.lstrip().startswith(("|", "#", "!", "-")):
        return block
    end = "\n" if block.endswith("\n") else ""
    return textwrap.fill(block, LINE, break_long_words=False, break_on_hyphens=False) + end


def main() -> None:
    """Write the document."""
    with atomic_path(DOCUMENT) as temporary:
        temporary.write_text(document(), encoding="utf-8")
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
