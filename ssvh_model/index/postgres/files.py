"""Files in the database of an index: the hasher that made its codes, and the features of videos that were
added.
"""

from __future__ import annotations

import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.hdf5 import open_hdf5, read_texts
from ssvh_model.index.index_folder import KeepFeatures
from ssvh_model.index.postgres.database import Database
from ssvh_model.index.postgres.tables import parts_of
from ssvh_model.index.snapshot import CARD, Overtaken
from ssvh_model.model.hasher_file import hasher_files
from ssvh_model.scratch import scratch_folder

if TYPE_CHECKING:
    import psycopg


class FileCopies:
    """Copies on disk of the files in a database, which end with this object.

    Args:
        database: that has them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copying = threading.Lock()

    def features(self) -> list[Path]:
        """The feature files of videos that were added, the oldest first."""
        return self._copy(
            "features",
            "SELECT lpad(file::text, 6, '0') || '.h5', content FROM ssvh.feature_files ORDER BY file, part",
        )

    def hasher(self, sha256: str, card: str) -> Path:
        """A folder with a hasher and its model card.

        Args:
            sha256: digest of the hasher.
            card: "" for none.

        Raises:
            Overtaken: another one has taken its place.
        """
        folder = self._copies_in(sha256)
        with self._copying:  # another thread is not to find half of it
            if not list(folder.iterdir()) and not self._copy(
                sha256,
                "SELECT name, content FROM ssvh.hasher_files WHERE sha256 = %s ORDER BY name, part",
                sha256,
            ):
                raise Overtaken(f"{self._database.name}: the hasher was replaced while it was read")
            if card:
                (folder / CARD).write_text(card, encoding="utf-8")
        return folder

    def _copies_in(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="index-", dir=scratch_folder())
        folder = Path(self._folder.name) / name
        folder.mkdir(exist_ok=True)
        return folder

    def _copy(self, folder: str, query: str, *which: object) -> list[Path]:
        """Copy files out of one state of the database.

        Args:
            folder: of the copies.
            query: for their names and parts, in order.
            which: parameters of the query.
        """
        target = self._copies_in(folder)

        def copy(connection: psycopg.Connection) -> list[str]:
            names: list[str] = []
            with connection.cursor("parts", binary=True) as cursor:
                cursor.itersize = 1  # a part may be large
                cursor.execute(query, which)
                for name, content in cursor:
                    # It comes from a database, so that it must not lead out of the folder.
                    if not re.fullmatch(r"\w[\w.-]*", name):
                        raise UserError(f"{self._database.name}: {name!r} is no name of a hasher's file")
                    with open(Path(temporary) / name, "wb" if name not in names else "ab") as file:
                        file.write(content)
                    names += [name] if name not in names else []
            return names

        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            names = self._database.read(copy)
            # A file that somebody still reads may have the same name.
            return [Path(temporary, name).replace(target / name) for name in names]


def keep_hasher(connection: psycopg.Connection, hasher: Path, sha256: str) -> None:
    """Put a hasher in the place of the one that is there."""
    connection.execute("DELETE FROM ssvh.hasher_files")
    for file in hasher_files(hasher):
        for part, content in parts_of(file):
            connection.execute(
                "INSERT INTO ssvh.hasher_files VALUES (%s, %s, %s, %s)", (sha256, file.name, part, content)
            )


def keep_feature_files(connection: psycopg.Connection, write: KeepFeatures) -> None:
    """Put feature files of videos beside those that are there; of a video that is there, the new one
    counts.
    """
    row = connection.execute("SELECT coalesce(max(file), 0) FROM ssvh.feature_files").fetchone()
    assert row is not None
    (before,) = row
    with tempfile.TemporaryDirectory() as temporary:
        written: list[Path] = []

        def next_path() -> Path:
            written.append(Path(temporary) / f"{len(written) + 1:06d}.h5")
            return written[-1]

        write(next_path)
        for number, path in enumerate(written, start=before + 1):
            for part, content in parts_of(path):
                connection.execute(
                    "INSERT INTO ssvh.feature_files VALUES (%s, %s, %s)", (number, part, content)
                )
            with open_hdf5(path, "feature file") as file:
                kept = zip(read_texts(file, "ids"), read_texts(file, "sha256"), strict=True)
                connection.cursor().executemany(
                    "INSERT INTO ssvh.added VALUES (%s, %s, %s) "
                    "ON CONFLICT (id) DO UPDATE SET sha256 = excluded.sha256, file = excluded.file",
                    [(video, digest, number) for video, digest in kept],
                )
