"""Namespaces of a node, its bridge's stand-in and the world, always removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A node as it is before the agent came."""
    its = Site(tmp_path)
    try:
        its.make()
        yield its
    finally:
        its.remove()
