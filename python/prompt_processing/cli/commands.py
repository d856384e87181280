"""Table of commands: module, summary and help section of each."""

from __future__ import annotations

from dataclasses import dataclass

from prompt_processing.flows.table import FLOWS

__all__ = ["COMMANDS", "GROUPS", "SECTIONS", "Entry"]

SECTIONS = (
    "Compare two images",
    "Run a night",
    "Run a day",
    "Repositories and databases",
    "See the night",
    "Monitor and repair",
    "Try it out",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command, or one group of commands.

    Attributes
    ----------
    summary
        One line for the list of commands.
    section
        Heading in ``prompt --help``; empty below the first level.
    target
        ``module:attribute`` of the command; empty for a group.
    default
        ``module:attribute`` of a function that returns the command of a group to run if none is named.
    """

    summary: str
    section: str = ""
    target: str = ""
    default: str = ""


_CLI = "prompt_processing.cli"

GROUPS = {
    "worker": Entry(
        "Process visits: the service that makes the alerts.",
        "Run a night",
        default=f"{_CLI}.night.worker:worker_of_platform",
    ),
    "raws": Entry("Run the service that reports which raw images have arrived.", "Run a night"),
    "values": Entry("Convert a site's Phalanx values for these charts.", "Monitor and repair"),
    "run": Entry(
        "Run a pipeline over a repository, here or on a Dask cluster.",
        "Repositories and databases",
        default=f"{_CLI}.run:name_of_default",
    ),
    "streams": Entry("Trim and watch the Redis streams of visits.", "Monitor and repair"),
    "nights": Entry("Keep and show the outcomes of nights.", "See the night"),
    "repo": Entry("Make, check, fill and export Butler repositories.", "Repositories and databases"),
    "repo export": Entry("Export part of a repository into a folder."),
    "refcat": Entry("Enter reference stars into a repository.", "Repositories and databases"),
    "calibrations": Entry("Make calibrations of raw exposures.", "Repositories and databases"),
    "templates": Entry("Make templates of the images of visits.", "Repositories and databases"),
    "instrument": Entry("Describe a camera and check its description.", "Repositories and databases"),
    "flow": Entry("Run and schedule the work of the day.", "Run a day"),
    "flow run": Entry("Run a flow, here, on a Dask cluster or under Prefect."),
    "apdb": Entry("Create, inspect and empty an alert production database.", "Repositories and databases"),
    "alerts": Entry("Show alerts, and resend those that no broker accepted.", "Monitor and repair"),
    "tester": Entry("Play the telescope: announce visits and upload raws.", "Try it out"),
}
"""Groups of commands, by the words that name them."""

COMMANDS = {
    "difference": Entry(
        "Subtract one FITS image from another and catalogue what changed.",
        "Compare two images",
        f"{_CLI}.difference:main",
    ),
    "worker http": Entry("Process visits that arrive over HTTP.", target=f"{_CLI}.night.worker:http"),
    "worker stream": Entry("Process visits from a Redis stream.", target=f"{_CLI}.night.worker:stream"),
    "watch": Entry(
        "Process the raws that appear in a folder, without other services.",
        "Run a night",
        f"{_CLI}.watch:main",
    ),
    "fanout": Entry(
        "Send each announced visit to the workers, detector by detector.",
        "Run a night",
        f"{_CLI}.night.fanout:main",
    ),
    "initializer": Entry(
        "Prepare a night's output runs, once before the first visit.",
        "Run a night",
        f"{_CLI}.night.initializer:main",
    ),
    "run pipeline": Entry(
        "Execute a pipeline, or what is left of it. (prompt run -p ... is the same.)",
        target=f"{_CLI}.run:pipeline",
    ),
    "run report": Entry(
        "Sort a run's quanta into successful, failed, blocked and unknown.", target=f"{_CLI}.run:report"
    ),
    "writer": Entry(
        "Register the workers' outputs in the central repository.", "Run a night", f"{_CLI}.night.writer:main"
    ),
    "raws serve": Entry("Report over HTTP which raw images have arrived.", target=f"{_CLI}.night.raws:serve"),
    "export-night": Entry(
        "Archive a night as Parquet, HATS catalogues and Avro files.",
        "Run a day",
        f"{_CLI}.day.export_night:main",
    ),
    "reprocess-night": Entry(
        "Process a night again, and compare it with the first processing.",
        "Run a day",
        f"{_CLI}.day.reprocess_night:main",
    ),
    "night-report": Entry(
        "Write the report of a night as one HTML page.", "Run a day", f"{_CLI}.day.night_report:main"
    ),
    "night-cube": Entry(
        "Add a night to the statistics of the sky, with maps and trends.",
        "Run a day",
        f"{_CLI}.day.night_cube:main",
    ),
    "replay": Entry(
        "Send a night's announcements and arrival notices again.", "Run a day", f"{_CLI}.day.replay:main"
    ),
    "repo make": Entry(
        "Make a central repository, or add an instrument to one.", target=f"{_CLI}.repo.make:main"
    ),
    "repo check": Entry(
        "Report what a repository lacks for prompt processing.", target=f"{_CLI}.repo.check:main"
    ),
    "repo export visits": Entry(
        "Export raws with their calibrations, reference stars and sky map.",
        target=f"{_CLI}.repo.export:visits",
    ),
    "repo export hsc-rc2": Entry("Export visits of HSC/RC2.", target=f"{_CLI}.repo.export:hsc_rc2"),
    "repo export latiss": Entry("Export visits of LATISS.", target=f"{_CLI}.repo.export:latiss"),
    "repo export templates": Entry(
        "Export templates with their sky map.", target=f"{_CLI}.repo.export:templates"
    ),
    "repo export preloaded": Entry(
        "Export the data preloaded for visits.", target=f"{_CLI}.repo.export:preloaded"
    ),
    "repo import": Entry("Read exports into a repository.", target=f"{_CLI}.repo.import_:exports"),
    "repo import-raws": Entry("Copy raws into a repository.", target=f"{_CLI}.repo.import_:import_raws"),
    "repo dataset-types": Entry(
        "Show and register missing dataset types.", target=f"{_CLI}.repo.dataset_types:main"
    ),
    "repo summarize-plots": Entry(
        "List the plots of a collection in one file, for pages.",
        target=f"{_CLI}.repo.summarize_plots:main",
    ),
    "repo finish-exports": Entry(
        "Finish or remove exports that a dead worker left unfinished.",
        target=f"{_CLI}.repo.finish_exports:main",
    ),
    "calibrations build": Entry(
        "Make bias, dark, flats, defects and gains of raw exposures, and certify them.",
        target=f"{_CLI}.calibrations.build:main",
    ),
    "templates build": Entry(
        "Make templates of your own visits' images, and put them first.",
        target=f"{_CLI}.templates.build:main",
    ),
    "refcat import": Entry(
        "Enter a downloaded catalogue of stars into a repository.", target=f"{_CLI}.refcat.import_:main"
    ),
    "refcat of-image": Entry(
        "Make reference stars of a raw image, where neither catalogue nor templates exist.",
        target=f"{_CLI}.refcat.of_image:main",
    ),
    "refcat of-templates": Entry(
        "Make reference stars of the templates, where no catalogue exists.",
        target=f"{_CLI}.refcat.of_templates:main",
    ),
    "instrument list": Entry("List the described instruments.", target=f"{_CLI}.instrument.list_:main"),
    "instrument new": Entry(
        "Draft an instrument's folder from its raw frames.", target=f"{_CLI}.instrument.new:main"
    ),
    "instrument check": Entry(
        "Read raw frames with an instrument's description.", target=f"{_CLI}.instrument.check:main"
    ),
    "flow list": Entry("List the flows.", target=f"{_CLI}.flow.list_:main"),
    **{
        f"flow run {name}": Entry(flow.summary, target=f"{_CLI}.flow.run:{name.replace('-', '_')}")
        for name, flow in FLOWS.items()
    },
    "flow deploy": Entry("Register flows at a Prefect server.", target=f"{_CLI}.flow.deploy:main"),
    "apdb create": Entry("Create an APDB.", target=f"{_CLI}.apdb:create"),
    "apdb status": Entry("Show an APDB's versions and content.", target=f"{_CLI}.apdb:status"),
    "apdb reset": Entry("Empty an APDB for development.", target=f"{_CLI}.apdb:reset"),
    "alerts show": Entry(
        "Decode alerts, then show them or write their cutouts.", target=f"{_CLI}.alerts.show:main"
    ),
    "alerts resend": Entry("Send the alerts that no broker accepted.", target=f"{_CLI}.alerts.resend:main"),
    "values convert": Entry("Convert the values of one application.", target=f"{_CLI}.values:convert"),
    "streams trim": Entry("Remove settled visits.", target=f"{_CLI}.night.streams:trim"),
    "streams watch": Entry("Serve metrics of the streams.", target=f"{_CLI}.night.streams:watch"),
    "navigator": Entry(
        "Show nights, images, objects and plots in a browser.",
        "See the night",
        f"{_CLI}.pages.navigator:main",
    ),
    "edge": Entry(
        "Serve all pages at one https address, behind one login.",
        "See the night",
        f"{_CLI}.pages.edge:main",
    ),
    "hub": Entry("Run notebooks of many people beside a night.", "See the night", f"{_CLI}.pages.hub:main"),
    "board": Entry(
        "Show a night as it happens, for many viewers.", "See the night", f"{_CLI}.pages.board:main"
    ),
    "nights project": Entry(
        "Keep the outcomes that workers publish in a database.", target=f"{_CLI}.pages.nights:project"
    ),
    "nights prune": Entry("Remove old nights from the database.", target=f"{_CLI}.pages.nights:prune"),
    "nights show": Entry(
        "Show the visits, times and failures of a night.", target=f"{_CLI}.pages.nights:show"
    ),
    "logs": Entry("Show the service's log by visit and detector.", "Monitor and repair", f"{_CLI}.logs:main"),
    "inspect": Entry(
        "Show versions, settings and local repositories of this pod.",
        "Monitor and repair",
        f"{_CLI}.inspect:main",
    ),
    "demo": Entry("Run a simulated night on this machine.", "Try it out", f"{_CLI}.demo:main"),
    "simulate": Entry("Simulate raws and the inputs to process them.", "Try it out", f"{_CLI}.simulate:main"),
    "tester upload": Entry("Upload visits from the pool of raws.", target=f"{_CLI}.tester:upload"),
    "tester upload-hsc-rc2": Entry(
        "Upload HSC visits from a Butler repository.", target=f"{_CLI}.tester:upload_hsc_rc2"
    ),
    "tester fill-pool": Entry("Upload raws to the pool.", target=f"{_CLI}.tester:fill_pool"),
}
"""Commands, by the words that name them."""
