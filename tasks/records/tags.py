"""Names of tags, and how long a tag may be."""

from __future__ import annotations

RAISED_TAG = "ssvh.checks_raised"
NONE_RAISED = "none"
HASH_TAG = "ssvh.hasher_sha256"  # of a version: what its files must give (`hasher_digest`)
ROLLED_BACK_TAG = "ssvh.rolled_back"
MOST_CHARACTERS = 5000  # of a description or a tag, in some of the databases that MLflow runs on
