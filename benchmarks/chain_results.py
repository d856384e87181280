"""What ``ap_chain.py`` gathers in a regime."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain_score import Score


@dataclass
class Outcome:
    """What one program reached on one scene.

    Attributes
    ----------
    score : `Score` or `None`
        `None` if it failed or was given up.
    subtraction, detection, seconds : `float`
        CPU seconds of the subtraction, of the detection on the difference, and of ours everything.
    remark : `str`
        Why it failed, or how it was called.
    """

    score: Score | None = None
    subtraction: float = float("nan")
    detection: float = float("nan")
    seconds: float = float("nan")
    remark: str = ""


@dataclass
class RegimeResult:
    """Everything of one regime.

    Attributes
    ----------
    ours : `Score`
        Of all scenes.
    seconds, subtraction : `list` of `float`
        CPU seconds of ours, a scene each.
    first : `Outcome`
        Of ours on the scene that the peers have as well.
    classic : `dict`
        CPU seconds of the classic chain's programs before the subtraction.
    peers : `dict`
        `Outcome` of each.
    remarks : `set` of `str`
        What could not be done.
    """

    ours: Score = field(default_factory=Score)
    seconds: list[float] = field(default_factory=list)
    subtraction: list[float] = field(default_factory=list)
    first: Outcome = field(default_factory=Outcome)
    classic: dict[str, float] = field(default_factory=dict)
    peers: dict[str, Outcome] = field(default_factory=dict)
    remarks: set[str] = field(default_factory=set)
