"""A folder that is elsewhere, where fsspec reaches it, such as s3://bucket/videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError


class StorageAway(UserError):
    """A folder or a file elsewhere can't be fetched just now, though it may be there: the same may succeed
    later.
    """


@dataclass(frozen=True)
class RemoteFolder:
    """What is asked of a folder elsewhere. Paths in it are relative, with forward slashes.

    Attributes:
        address: scheme://folder, without a slash at the end.
    """

    address: str

    def check(self) -> None:
        """Make sure that it is there.

        Raises:
            UserError: there is no such folder or storage, its package is missing, or whoever asks may not
                look.
            StorageAway: it does not answer.
        """
        with self._looking():
            files, root = self._files
            files.invalidate_cache()
            there = files.isdir(root)
        if not there:
            raise UserError(f"there is no folder {self.address}")

    @cached_property
    def stamps(self) -> Mapping[str, str]:
        """What tells a changed file from the one before, of every file that is not hidden, by its path;
        sorted.

        The ETag where the storage has one, otherwise size and time. Nothing but the listing is read, once for
        this object.

        Raises:
            UserError: there is no such storage, its package is missing, or whoever asks may not look.
            StorageAway: it does not answer.
        """
        with self._looking():
            files, root = self._files
            files.invalidate_cache()
            listed = files.find(root, detail=True)
        start = len(root.rstrip("/")) + 1
        found = {name[start:]: _stamp(facts) for name, facts in listed.items()}
        return {path: found[path] for path in sorted(found) if not _is_hidden(path)}

    def has_file(self, path: str) -> bool:
        """Whether there is such a file, hidden or not."""
        with self._looking():
            files, root = self._files
            return bool(files.isfile(f"{root}/{path}"))

    def facts(self, path: str) -> tuple[int, str]:
        """How many bytes a file has now, and what tells it from a changed one, as in `stamps`; raises as
        `read`.
        """
        with self._fetching(path):
            files, root = self._files
            found = files.info(f"{root}/{path}")
            if found.get("type") != "file":
                raise FileNotFoundError(path)
            return int(found["size"]), _stamp(found)

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: whoever asks may not read it.
            StorageAway: it can't be fetched just now.
        """
        with self._fetching(path):
            files, root = self._files
            return bytes(files.cat_file(f"{root}/{path}"))

    def fetch(self, path: str, copy: Path) -> None:
        """Write the content of a file to a file of this machine; raises as `read`."""
        with self._fetching(path):
            files, root = self._files
            files.get_file(f"{root}/{path}", str(copy))

    @property
    def _files(self) -> tuple[Any, str]:
        """fsspec's file system, which it makes once, and the folder in it."""
        import fsspec

        files, root = fsspec.core.url_to_fs(self.address)
        return files, root

    @contextmanager
    def _looking(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise _said(error, self.address, "be looked at") from error

    @contextmanager
    def _fetching(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            raise _said(error, f"{self.address}/{path}", "be fetched") from error


def _said(error: Exception, address: str, what: str) -> UserError:
    """What went wrong, and whether it may go well later."""
    kind, reason = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, ImportError):
        return UserError(f"{address}: {reason}; the extra s3 is for S3: pip install 'autossvh[s3]'")
    if isinstance(error, PermissionError) or "Credential" in kind:
        return UserError(
            f"{address}: may not {what} ({kind}: {reason}); who asks is told as the storage wants it, such as in AWS_PROFILE"
        )
    if isinstance(error, ValueError):
        return UserError(f"{address}: {reason}")
    return StorageAway(f"{address}: can't {what} ({kind}: {reason})")


def _stamp(facts: Mapping[str, Any]) -> str:
    """What changes with a file's content, of what a listing says about it; the names are those of several
    storages.
    """
    for name in ("ETag", "etag", "content_md5"):
        if facts.get(name):
            return str(facts[name])
    times = [facts[name] for name in ("mtime", "LastModified", "last_modified", "updated") if facts.get(name)]
    return f"{facts.get('size')} bytes, changed {times[0] if times else 'at an unknown time'}"


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
