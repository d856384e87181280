"""Keywords in which an instrument's rules find given values: the reverse of translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astropy.time import Time

from .instrument import Instrument, InstrumentError
from .rules import AngleRule, KeywordRule, TimeRule

__all__ = [
    "GROUP_KEYWORD",
    "NUMBER_KEYWORD",
    "SNAP_KEYWORD",
    "Identity",
    "described_cards",
    "described_identity",
]

NUMBER_KEYWORD, GROUP_KEYWORD, SNAP_KEYWORD = "PPEXPID", "PPGROUP", "PPSNAP"
"""Keywords that simulator and tester write for exposure id, group and snap, where an instrument has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Identity of an exposure.

    Attributes
    ----------
    exposure
        Id.
    group
        Group of the visit.
    begin, end
        Begin and end of the exposure.
    snap, snaps
        Index in the visit, from 0, and number of the visit's exposures.
    controller
        Letter in the OBSID of LSST cameras.
    """

    exposure: int
    group: str
    begin: Time
    end: Time
    snap: int = 0
    snaps: int = 1
    controller: str = "O"


def described_identity(instrument: Instrument, identity: Identity) -> dict[str, Any]:
    """Return the keywords of an exposure's identity, by the rules of its instrument.

    The first of them is one that every raw of the instrument has.

    Raises
    ------
    InstrumentError
        Raised if the instrument has no rules.
    """
    rules, exposures = instrument.document.header, instrument.document.exposures
    if rules is None:
        raise InstrumentError(f"{instrument.name} has neither rules for headers nor a function of identities")
    cards = rules.exposure_id.cards(identity.exposure) if rules.exposure_id is not None else {}
    cards |= rules.begin.cards(identity.begin + rules.begin.share * (identity.end - identity.begin))
    if rules.end is not None:
        cards |= rules.end.cards(identity.end)
    if rules.observation_id is not None:
        cards |= rules.observation_id.cards(instrument.observation_id_of(identity.exposure))
    if rules.exposure_id is None:
        cards[NUMBER_KEYWORD] = identity.exposure
    cards |= (
        {GROUP_KEYWORD: identity.group} if exposures.group is None else exposures.group.cards(identity.group)
    )
    cards |= {SNAP_KEYWORD: identity.snap} if exposures.snap is None else exposures.snap.cards(identity.snap)
    return cards


def described_cards(instrument: Instrument, detector: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a raw, by the rules of its instrument.

    Parameters
    ----------
    instrument
        Instrument with rules for headers.
    detector
        Id of the detector.
    values
        Values by the names in `~prompt_processing.instruments.description.document.HeaderDocument`; those
        without a rule are left out.

    Raises
    ------
    InstrumentError
        Raised if the instrument has no rules.
    """
    rules = instrument.document.header
    if rules is None:
        raise InstrumentError(f"{instrument.name} has no rules for headers")
    cards: dict[str, Any] = {}
    for wanted in instrument.document.recognised_by[:1]:
        for keyword, value in wanted.items():
            if not isinstance(value, Mapping):
                cards[keyword] = value[0] if isinstance(value, list | tuple) else value
    cards |= rules.detector.cards(detector)
    for name, value in values.items():
        rule = getattr(rules, name, None)
        if name == "observation_type":
            value = next(
                (key for key, kind in instrument.document.image_types.items() if kind == value), value
            )
        if isinstance(rule, KeywordRule | AngleRule | TimeRule):
            cards |= rule.cards(value)
    return cards
