"""Published files: downloaded once, checked always."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras

from dvae.errors import UserError


class PublishedFile(NamedTuple):
    """Where a file is published, and what it must be.

    Attributes:
      url: where to download it.
      algorithm: 'sha256' or 'git blob sha1' (see `digest_of`).
      digest: the expected digest, hex.
    """

    url: str
    algorithm: str
    digest: str


def fetch(published: PublishedFile, path: Path) -> bytes:
    """The content of the file at `path`, which is downloaded and verified first if there is none.

    A file that is already there is read as it is: `verify` it, or say why not.

    Raises:
      UserError: if the download fails or is not the published file, or `path` cannot be read or written.
    """
    try:
        if not path.exists():
            _download(published, path)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: must be a file that can be read or written: {error.strerror or error}") from None


def verify(published: PublishedFile, path: Path, content: bytes) -> None:
    """Raises a UserError that names `path` unless `content` is that of the published file."""
    digest = digest_of(content, published.algorithm)
    if digest != published.digest:
        raise UserError(
            f"{path}: {published.algorithm} is {digest}, expected {published.digest}: delete it to download it again"
        )


def digest_of(content: bytes, algorithm: str) -> str:
    """The digest, hex, by 'sha256', or by 'git blob sha1': the SHA-1 of `blob <size>\\0` followed by the content."""
    if algorithm == "sha256":
        return hashlib.sha256(content).hexdigest()
    if algorithm == "git blob sha1":
        header = f"blob {len(content)}\0".encode()
        return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    raise ValueError(f"algorithm={algorithm!r}: must be 'sha256' or 'git blob sha1'")


def _download(published: PublishedFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own beside the target: nothing half-written is ever seen at `path`, and moving it there is atomic.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
        try:
            arrived = keras.utils.get_file(path.name, published.url, cache_dir=folder, cache_subdir="")
        except Exception as error:  # noqa: BLE001 - get_file raises a bare Exception
            raise UserError(
                f"{path}: is missing and the download failed ({error}): "
                f"get {published.url} by hand and put it at this path"
            ) from None
        content = Path(arrived).read_bytes()
        digest = digest_of(content, published.algorithm)  # get_file knows no git blob digests
        if digest != published.digest:
            raise UserError(
                f"{published.url}: {published.algorithm} of the download is {digest}, expected {published.digest}: "
                f"get the file by hand and put it at {path}"
            )
        os.replace(arrived, path)
