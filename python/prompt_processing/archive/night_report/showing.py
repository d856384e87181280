"""Show tables and figures in a notebook, so that they can be read on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show_figure", "show_table"]


def show_table(table: pd.DataFrame) -> None:
    """Show a table without its index; cells are escaped."""
    from IPython.display import HTML, display

    page = table.to_html(index=False, border=0, na_rep="") if len(table) else "<p>None.</p>"
    display(HTML(page))  # type: ignore[no-untyped-call]


def show_figure(figure: Figure, description: str) -> None:
    """Show a figure with a text for those who cannot see it."""
    import io

    from IPython.display import display

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    bundle = {"image/png": data.getvalue(), "text/plain": description}
    display(bundle, raw=True, metadata={"image/png": {"alt": description}})  # type: ignore[no-untyped-call]
