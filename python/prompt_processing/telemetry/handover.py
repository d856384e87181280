"""Keep the log context of a visit when work is handed to another thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

__all__ = ["in_this_context"]


def in_this_context[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the context variables of the caller.

    Threads and executors start with an empty context. Wrap the functions that are passed to them, so that
    their log messages name the visit that handed the work over, even after its end.

    Parameters
    ----------
    function : callable
        Function that another thread will call.

    Returns
    -------
    bound : callable
        The same function. Several threads may call it at once.
    """
    context = copy_context()

    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered by one thread at a time; copying one is cheap.
        return context.copy().run(function, *args, **kwargs)

    return bound
