"""What is printed of pairs of real images."""

from __future__ import annotations

import numpy as np

from .comparison import RELIABLE, Row


def described(row: Row) -> str:
    """Return the lines about a pair."""
    pair = f"{row.science} - {row.template}"
    seeing = ", ".join(f"{value:.2f}" for value in row.fitted_seeing)
    if row.refused:
        expected = "" if row.possible else " (as expected)"
        return f"{pair}\n    refused{expected}: {row.refused}\n    seeing of Gaussian fits {seeing} pixels"
    ours = ", ".join(f"{value:.2f}" for value in row.seeing)
    lines = [
        pair,
        f"    seeing {ours} pixels; of Gaussian fits {seeing}",
        f"    residual / noise {row.sky:.3f} on the sky, {row.stars:.2f} at stars, {row.bright:.2f} at the "
        f"brightest; the match leaves {100 * row.model_error:.1f} % of the light",
        f"    {row.changes} changes; known ones found {row.found} of {row.known}"
        + (f", missed {', '.join(row.missed)}" if row.missed else "")
        + f"; {row.spurious} others above {RELIABLE}; {row.seconds:.1f} s",
    ]
    left = [f"{name} {a:.1f} ({b:.1f})" for name, (a, b) in row.left.items()]
    if left:
        lines.append(f"    residual light, per cent (noise): {'; '.join(left)}")
    lines += [f"    {name}: {remark}" for name, remark in row.peers.items()]
    return "\n".join(lines)


def overall(rows: list[Row]) -> str:
    """Return the comparison with the goals."""
    possible = [row for row in rows if row.possible]
    ran = [row for row in possible if not row.refused]
    known, found = sum(row.known for row in ran), sum(row.found for row in ran)
    off = [
        abs(a / b - 1)
        for row in ran
        for a, b in zip(row.seeing, row.fitted_seeing, strict=True)
        if np.isfinite(a) and np.isfinite(b)
    ]
    spurious = sum(row.spurious for row in ran)
    return (
        f"{len(ran)} of {len(possible)} possible pairs ran; known changes found {found} of {known}; "
        f"{spurious} spurious above {RELIABLE}, {spurious / max(len(ran), 1):.1f} a pair (goal: under 1); "
        f"seeing within 10 % of the fits in {sum(value < 0.1 for value in off)} of {len(off)} images; "
        f"sky within 1.00 +- 0.03 in {sum(abs(row.sky - 1) <= 0.03 for row in ran)}, stars under 1.3 in "
        f"{sum(not row.stars >= 1.3 for row in ran)}, "
        f"brightest under 2 in {sum(not row.bright >= 2 for row in ran)}"
    )
