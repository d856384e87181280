"""``prompt values``: rewrite a site's values for the charts of this project."""

from __future__ import annotations

from pathlib import Path

import click

from .command import Command


@click.command(
    cls=Command,
    examples="""
    prompt values convert prompt-keda-lsstcam/values.yaml prompt-keda-lsstcam/values-usdfprod.yaml -o new
    prompt values convert values.yaml --application prompt-redis -o new
    """,
    statuses={1: "a file or a value cannot be converted"},
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--application",
    type=click.Choice(["prompt-keda", "next-visit-fan-out", "butler-writer-service", "prompt-redis"]),
    help="What the values belong to.  [default: as their keys say]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the new file.",
)
def convert(files: tuple[Path, ...], application: str | None, output: Path) -> None:
    """Convert the values of a Phalanx application for the charts of this project.

    FILEs are those of one environment in Helm's order: later ones win. The result is one file with the name
    of the last FILE. Values without a counterpart are listed, each with what to do about it.
    """
    from prompt_processing.operators.site_values.convert import convert_files
    from prompt_processing.operators.site_values.rules import ValuesError

    try:
        converted = convert_files(files, application)
        output.mkdir(parents=True, exist_ok=True)
        target = output / files[-1].name
        if any(target.exists() and target.samefile(file) for file in files):
            raise click.ClickException(f"{target} is one of the files to convert: choose another folder.")
        target.write_text(converted.text, encoding="utf-8")
    except (ValuesError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{target}: values of {converted.application}")
    for path, why in converted.remarks.items():
        click.echo(f"  {path}: {why}")
