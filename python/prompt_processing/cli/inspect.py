"""``prompt inspect``: show a pod's versions, settings and local repositories."""

from __future__ import annotations

import json

import click

from .command import Command


@click.command(
    cls=Command,
    examples="""
    kubectl exec POD -- prompt inspect
    kubectl exec POD -- prompt inspect --repository --json
    """,
    statuses={1: "the settings are unusable, or a repository cannot be read"},
)
@click.option("--versions", is_flag=True, help="Show only versions.")
@click.option("--settings", is_flag=True, help="Show only settings, without secrets.")
@click.option("--repository", is_flag=True, help="Show only local repositories.")
@click.option("--all", "all_packages", is_flag=True, help="Show all installed packages, not only LSST's.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.option(
    "--local-repos",
    envvar="LOCAL_REPOS",
    default="/tmp",
    show_default=True,
    show_envvar=True,
    help="Directory of the local repositories.",
)
def main(
    versions: bool, settings: bool, repository: bool, all_packages: bool, as_json: bool, local_repos: str
) -> int:
    """Show this pod's versions, settings without secrets, and the workers' local repositories."""
    from rich.console import Console

    from prompt_processing.operators.pod import PARTS, look_into_pod, show_pod

    chosen = {"versions": versions, "settings": settings, "repositories": repository}
    parts = [part for part, is_chosen in chosen.items() if is_chosen] or PARTS
    found = look_into_pod(local_repos, parts)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show_pod(Console(highlight=False, markup=False, emoji=False), found, all_packages=all_packages)
    return 1 if found["problems"] else 0
