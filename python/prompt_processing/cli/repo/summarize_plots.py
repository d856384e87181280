"""``prompt repo summarize-plots``: list the plots of a collection in one file."""

from __future__ import annotations

import click

from prompt_processing.butler.opening import open_repository
from prompt_processing.cli.command import Command
from prompt_processing.cli.options import log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt repo summarize-plots /repo/main LSSTCam/prompt/output-2026-11-28 --to s3://plots/ --name main
    prompt navigator --repo main --summaries s3://plots/
    """,
    statuses={1: "the collection does not exist, or the file cannot be written"},
)
@click.argument("repo", envvar="CENTRAL_REPO", help="The repository.  [CENTRAL_REPO]")
@click.argument("collection", help="Collection with plots.")
@click.option("--to", "folder", required=True, metavar="URI", help="Folder or bucket of all summaries.")
@click.option("--name", metavar="NAME", help="Name of the repository for readers.  [default: REPO]")
def main(repo: str, collection: str, folder: str, name: str | None) -> int:
    """List the plots of a collection in one file, from which pages show them without asking the registry.

    The file is <URI>/<name>/collection_<collection>.json.gz, with URL-encoded names, as the field's plot
    navigator reads it. Write it again when the collection has new plots.
    """
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.repository.plots.summary import write_summary

    log_to_stderr()
    use_butler_types()
    try:
        with open_repository(repo) as butler:
            path, n_plots = write_summary(butler, name or repo, collection, folder)
    except (LookupError, FileNotFoundError, PermissionError, ValueError) as error:
        raise click.ClickException(str(error.args[0] if error.args else error)) from error
    click.echo(f"{n_plots} plots of {collection} are listed in {path.ospath if path.isLocal else path}")
    return 0
