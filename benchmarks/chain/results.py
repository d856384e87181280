"""Results that ``ap_chain.py`` collects for a regime."""

from __future__ import annotations

from dataclasses import dataclass, field

from .score import Score


@dataclass
class Outcome:
    """The result of one program on one scene.

    Attributes
    ----------
    score : `Score` or `None`
        `None` if it failed or was aborted.
    subtraction, detection, seconds : `float`
        CPU seconds of the subtraction, of the detection on the difference, and, for our chain, in total.
    remark : `str`
        Reason of a failure, or the options of the call.
    """

    score: Score | None = None
    subtraction: float = float("nan")
    detection: float = float("nan")
    seconds: float = float("nan")
    remark: str = ""


@dataclass
class RegimeResult:
    """All results of one regime.

    Attributes
    ----------
    ours : `Score`
        Our score over all scenes.
    seconds, subtraction : `list` of `float`
        CPU seconds of our chain for each scene.
    first : `Outcome`
        Our result on the scene that the peers also process.
    classic : `dict`
        CPU seconds of the classic chain's programs before the subtraction.
    peers : `dict`
        `Outcome` of each peer.
    remarks : `set` of `str`
        Remarks on failures.
    """

    ours: Score = field(default_factory=Score)
    seconds: list[float] = field(default_factory=list)
    subtraction: list[float] = field(default_factory=list)
    first: Outcome = field(default_factory=Outcome)
    classic: dict[str, float] = field(default_factory=dict)
    peers: dict[str, Outcome] = field(default_factory=dict)
    remarks: set[str] = field(default_factory=set)
