"""Whether a query finds more by its soft code, before it is cut to bits, than by its code.

    python benchmarks/asymmetric.py --corpus demo=data/features/features.h5 --corpus kitchen=gtea.h5

Trains with params.yaml and measures the query videos by Hamming distance and by the asymmetric distance
(Gordo et al., "Asymmetric Distances for Binary Embeddings", 2014): the inner product of the soft code with
each code. Prints both and the paired interval of the difference.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from machine import write_result  # isort: skip  (before torch)

import numpy as np
from quality import Corpus

from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.retrieval.bootstrap import paired_difference
from ssvh_model.retrieval.evaluation import evaluate_codes, evaluate_features
from ssvh_model.training.encoded import encode_rows
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource
from tasks.params.presets import params_with_presets
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.selected import selected_hasher
from tasks.training.settings import training_session


def measured(corpus: Corpus, bits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """AP@K [q, 6] of the query videos by the asymmetric distance, and by Hamming distance."""
    params = params_with_presets([], changes={"model.bits": bits, "seed": seed})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = as_feature_file(corpus.file, folder, labels=corpus.labels)
        session = training_session(params, file)
        warm = train_warmup(session, params, folder / "warmup", lambda row, seconds: None)
        state = train_rounds(session, params, warm, folder, lambda row, seconds: None)
        hasher = selected_hasher(params, state)
        rows = [file.rows(*splits) for splits in (params.evaluate.query, params.evaluate.database)]
        batch_size, device = params.training.batch_size, session.device
        query, database = (
            encode_rows(hasher, file, some, batch_size=batch_size, device=device) for some in rows
        )
        videos = FrameSource.from_file(file, rows[0], memory_limit=0)
        soft = encode(hasher, videos, batch_size=batch_size, device=device).numpy()
    others = (query.labels, database.labels, query.ids, database.ids)
    exclude_self = params.evaluate.exclude_self
    asymmetric = evaluate_features(
        soft, database.codes.astype(np.float32), *others, exclude_self=exclude_self
    )
    hamming = evaluate_codes(query.codes, database.codes, *others, exclude_self=exclude_self)
    return asymmetric.average_precision, hamming.average_precision


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", action="append", type=Corpus.of, required=True, help="NAME=FILE")
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--name", default="asymmetric", help="of the JSON in benchmarks/results")
    arguments = parser.parse_args()

    content = []
    for corpus in arguments.corpus:
        for bits in arguments.bits:
            pairs = [measured(corpus, bits, seed) for seed in arguments.seeds]
            asymmetric, hamming = (np.stack(side) for side in zip(*pairs, strict=True))
            found = paired_difference(asymmetric, hamming, resamples=2000, confidence=0.95, seed=0)
            content.append({"corpus": corpus.name, "bits": bits, "seeds": len(pairs), **found.record()})
            assert found.relative is not None
            print(
                f"{corpus.name}, {bits} bits: asymmetric {found.gmap:.4f}, Hamming {found.other_gmap:.4f}, "
                f"{found.relative:+.1%} ({found.relative_low:+.1%} to {found.relative_high:+.1%})",
                flush=True,
            )
    write_result(arguments.name, {"rows": content})


if __name__ == "__main__":
    main()
