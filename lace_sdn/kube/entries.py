"""Valid objects with their places, as JSON: between processes, and on disk. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.manifests import Identity, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping


def entry_of(manifest: Manifest) -> str:
    """One line of text, made once for an object however often it is asked for."""
    return manifest.decoded(_text)


def _text(manifest: Manifest) -> str:
    identity = manifest.identity
    return json.dumps(
        {
            "kind": identity.kind,
            "namespace": identity.namespace,
            "name": identity.name,
            "file": manifest.file,
            "lines": [[path, line] for path, line in manifest.lines.items()],
            "data": manifest.data,
        }
    )


def manifest_in(entry: Mapping[str, Any]) -> Manifest:
    """The object of ``entry_of``'s text, parsed. Raises KeyError, TypeError or ValueError for what is none."""
    identity = Identity(str(entry["kind"]), str(entry["namespace"]), str(entry["name"]))
    lines = {tuple(path): int(line) for path, line in entry["lines"]}
    return Manifest(identity, dict(entry["data"]), str(entry["file"]), lines)
