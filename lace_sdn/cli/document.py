"""``python -m lace_sdn.cli.document FILE``: bring the generated part of docs/pipeline.md up to date."""

from __future__ import annotations

from pathlib import Path

import click

from lace_sdn.pipeline.document import with_generated_part


@click.command
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(path: Path) -> None:
    """Rewrite what stands between the marks of FILE from the declarations of tables and registers."""
    old = path.read_text()
    new = with_generated_part(old)
    if new != old:
        path.write_text(new)
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    command()
