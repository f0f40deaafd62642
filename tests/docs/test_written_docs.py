"""What the documents quote is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lace_sdn.pipeline.document import with_generated_part

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "docs" / "pipeline.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_tables_in_the_pipeline_document_are_the_declared_ones() -> None:
    """When this fails: ``make docs``."""
    text = PIPELINE.read_text()
    assert with_generated_part(text) == text


def test_flows_quoted_in_the_pipeline_document_are_in_the_goldens() -> None:
    told = ("one-way-peering", "service-only", "egress-to-internet", "nodeport-local", "host-probe")
    goldens = "".join(
        path.read_text() for name in told for path in (ROOT / "flows" / name).glob("*.flows")
    ).splitlines()
    quoted = re.findall(r"^ *(cookie=.*)$", PIPELINE.read_text(), re.MULTILINE)
    assert [line for line in quoted if line not in goldens] == []
    assert len(quoted) > 35


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one line"):
        with_generated_part("# nothing to fill in\n")
