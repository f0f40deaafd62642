"""A name for what a folder of manifests says, so that two processes can speak of the same contents."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lace_sdn.kube.files import FolderError, manifest_files

if TYPE_CHECKING:
    from pathlib import Path


def generation(path: Path) -> str:
    """SHA-256 (64 hex digits) of the names and bytes of all manifests of ``path``; "" while there are none to read."""
    try:
        files = manifest_files(path).files
        digest = hashlib.sha256()
        for name, file in files:
            content = file.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    except (FolderError, OSError):
        return ""
    return digest.hexdigest()
