"""The table of commands: where each is, what it does, and the section of the page that lists it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "GROUPS", "SECTIONS", "Entry"]

SECTIONS = (
    "Look at two images",
    "Run a night",
    "Repositories and databases",
    "Watch and mend",
    "Try it out",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command, or one group of commands.

    Attributes
    ----------
    summary
        One line for the page that lists it.
    section
        Heading under which the first page lists it; empty below the first level.
    target
        ``module:attribute`` of the command; empty for a group.
    """

    summary: str
    section: str = ""
    target: str = ""


_CLI = "prompt_processing.cli"

GROUPS = {
    "worker": Entry("Process visits: the service that makes the alerts.", "Run a night"),
    "raws": Entry("The service that knows which raw images have arrived.", "Run a night"),
    "repo": Entry("Make, check, fill and export Butler repositories.", "Repositories and databases"),
    "repo export": Entry("Export part of a repository into a folder."),
    "apdb": Entry("Make, look at and empty an alert production database.", "Repositories and databases"),
    "alerts": Entry("Show alerts, and resend those that no broker took.", "Watch and mend"),
    "tester": Entry("Play the telescope: announce visits and upload raws.", "Try it out"),
}
"""Groups of commands, by the words that name them."""

COMMANDS = {
    "difference": Entry(
        "Subtract one FITS image from another and catalogue what changed.",
        "Look at two images",
        f"{_CLI}.difference:main",
    ),
    "worker http": Entry("Process visits that arrive over HTTP.", target=f"{_CLI}.worker:http"),
    "worker stream": Entry("Process visits from a Redis stream.", target=f"{_CLI}.worker:stream"),
    "fanout": Entry(
        "Send each announced visit to the workers, detector by detector.",
        "Run a night",
        f"{_CLI}.fanout:main",
    ),
    "initializer": Entry(
        "Prepare a night's output runs; once, before the first visit.",
        "Run a night",
        f"{_CLI}.initializer:main",
    ),
    "writer": Entry(
        "Enter the workers' outputs into the central repository.", "Run a night", f"{_CLI}.writer:main"
    ),
    "raws serve": Entry("Answer which raw images have arrived.", target=f"{_CLI}.raws:serve"),
    "repo make": Entry(
        "Make a central repository, or add an instrument to one.", target=f"{_CLI}.repo_make:main"
    ),
    "repo check": Entry(
        "Report what a repository lacks for prompt processing.", target=f"{_CLI}.repo_check:main"
    ),
    "repo export visits": Entry(
        "Raws with their calibrations, reference stars and sky map.",
        target=f"{_CLI}.repo_export:visits",
    ),
    "repo export hsc-rc2": Entry("The same for visits of HSC/RC2.", target=f"{_CLI}.repo_export:hsc_rc2"),
    "repo export latiss": Entry("The same for visits of LATISS.", target=f"{_CLI}.repo_export:latiss"),
    "repo export templates": Entry("Templates with their sky map.", target=f"{_CLI}.repo_export:templates"),
    "repo export preloaded": Entry("What was preloaded for visits.", target=f"{_CLI}.repo_export:preloaded"),
    "repo import": Entry("Read exports into a repository.", target=f"{_CLI}.repo_import:exports"),
    "repo import-raws": Entry("Copy raws into a repository.", target=f"{_CLI}.repo_import:import_raws"),
    "repo dataset-types": Entry(
        "Show and register dataset types that are missing.", target=f"{_CLI}.repo_dataset_types:main"
    ),
    "repo finish-exports": Entry(
        "Settle exports that a dead worker left unfinished.",
        target=f"{_CLI}.repo_finish_exports:main",
    ),
    "apdb create": Entry("Make an APDB.", target=f"{_CLI}.apdb:create"),
    "apdb status": Entry("Show an APDB's versions and content.", target=f"{_CLI}.apdb:status"),
    "apdb reset": Entry("Empty an APDB for development.", target=f"{_CLI}.apdb:reset"),
    "alerts show": Entry(
        "Decode alerts and show them, or write their cutouts.", target=f"{_CLI}.alerts_show:main"
    ),
    "alerts resend": Entry("Send the alerts that no broker took.", target=f"{_CLI}.alerts_resend:main"),
    "logs": Entry("Show the service's log by visit and detector.", "Watch and mend", f"{_CLI}.logs:main"),
    "inspect": Entry(
        "Show versions, settings and local repositories of this pod.",
        "Watch and mend",
        f"{_CLI}.inspect:main",
    ),
    "demo": Entry("Run a simulated night on this machine.", "Try it out", f"{_CLI}.demo:main"),
    "simulate": Entry(
        "Simulate raws and what is needed to process them.", "Try it out", f"{_CLI}.simulate:main"
    ),
    "tester upload": Entry("Take visits from the pool of raws.", target=f"{_CLI}.tester:upload"),
    "tester upload-hsc-rc2": Entry(
        "Take visits of HSC from a Butler repository.", target=f"{_CLI}.tester:upload_hsc_rc2"
    ),
    "tester fill-pool": Entry("Put raws into the pool.", target=f"{_CLI}.tester:fill_pool"),
}
"""Commands, by the words that name them."""
