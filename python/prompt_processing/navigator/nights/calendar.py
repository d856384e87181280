"""Months with their nights, as HTML."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping

from ..text import escaped

__all__ = ["months"]

_MOST_MONTHS = 4


def months(nights: Mapping[int, str], chosen: int | None, address: Callable[[int], str]) -> str:
    """Return the newest months that have nights.

    Parameters
    ----------
    nights
        Note of each night (``YYYYMMDD``), such as its number of visits.
    chosen
        Night that is marked.
    address
        Returns the address of a night.
    """
    wanted = sorted({night // 100 for night in nights}, reverse=True)[:_MOST_MONTHS]
    parts = []
    for month in wanted:
        year, number = divmod(month, 100)
        if not (1 <= number <= 12 and 1 <= year <= 9999):
            continue
        rows = []
        for week in calendar.Calendar().monthdayscalendar(year, number):
            cells = []
            for day in week:
                night = month * 100 + day
                if not day:
                    cells.append("<td></td>")
                elif night in nights:
                    current = ' aria-current="date"' if night == chosen else ""
                    cells.append(
                        f'<td class="night"><a href="{escaped(address(night))}"{current} '
                        f'title="{escaped(nights[night])}">{day}</a></td>'
                    )
                else:
                    cells.append(f"<td>{day}</td>")
            rows.append("<tr>" + "".join(cells) + "</tr>")
        head = "".join(f'<th scope="col">{name}</th>' for name in ("M", "T", "W", "T", "F", "S", "S"))
        parts.append(
            f'<table class="month"><caption>{calendar.month_name[number]} {year}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
    return '<div class="months">' + "".join(parts) + "</div>" if parts else ""
