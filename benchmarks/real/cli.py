"""Subtract pairs of real images, with this project and with others, and compare with what is known of them.

    python benchmarks/real_pairs.py FOLDER [--sets NAME ...] [--peers NAME ... | --no-peers] [--json FILE]

FOLDER holds sets of images as `real.sets` describes. All that is not listed there as a change and has a
reliability above 0.5 counts as spurious. In a folder without a list, each image is compared with the first of
the same filter.

Printed for each pair: whether it ran or why not; the seeing beside that of Gaussian fits to isolated stars,
which share no code with the project; residual over noise on the sky, at stars and at the brightest; the share
of the light that the match leaves (which is part of the noise); changes, known ones found, spurious ones; the
residual within one FWHM of stars in per cent of their light, with the noise's own share in brackets, for us
and for each peer; seconds.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict
from pathlib import Path

from chain.subtractors import SUBTRACTORS

from .comparison import run_pair
from .report import described, overall
from .sets import read_sets

PEER_CPU_SECONDS = 300.0


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--peers", nargs="+", choices=SUBTRACTORS, default=list(SUBTRACTORS))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--seconds", type=float, default=PEER_CPU_SECONDS, help="CPU seconds for a peer")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, pairs in read_sets(arguments.folder, arguments.sets).items():
        print(f"\n{name}")
        for pair in pairs:
            rows.append(
                run_pair(name, pair, [] if arguments.no_peers else arguments.peers, arguments.seconds)
            )
            print(described(rows[-1]), flush=True)
    if not rows:
        parser.error(f"{arguments.folder} has no pair of images.")
    print(f"\n{overall(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
