"""Print the requirements that pyproject.toml declares, one a line, for pip: all but one, with those of running tests."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

FOR_TESTS = ("hypothesis", "pytest>", "pytest-randomly")


def main() -> None:
    """Read ``pyproject.toml`` beside this folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", default="", help="name of a dependency to leave out")
    parser.add_argument("--tests", action="store_true", help="with what runs tests, of the dev extra")
    options = parser.parse_args()
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    found = [
        name
        for name in project["dependencies"]
        if not options.without or not name.startswith(options.without)
    ]
    if options.tests:
        found += [name for name in project["optional-dependencies"]["dev"] if name.startswith(FOR_TESTS)]
    print("\n".join(found))


if __name__ == "__main__":
    main()
