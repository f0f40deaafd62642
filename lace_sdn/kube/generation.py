"""A name for what a folder of manifests says, so that two processes can speak of the same contents."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lace_sdn.kube.files import FolderError, UnfitError, content_of, manifest_files

if TYPE_CHECKING:
    from pathlib import Path


def generation(path: Path) -> str:
    """SHA-256 (64 hex digits) of the names and bytes of all manifests of ``path``; "" while there are none to read.

    A file that is never read (a device, one too large) counts by its name and what it is.
    """
    try:
        files = manifest_files(path).files
        digest = hashlib.sha256()
        for name, file in files:
            content = _content(file)
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    except (FolderError, OSError):
        return ""
    return digest.hexdigest()


def _content(file: Path) -> bytes:
    try:
        return content_of(file)
    except UnfitError as error:
        return str(error).encode()
