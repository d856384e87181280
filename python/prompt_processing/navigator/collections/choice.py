"""A state whose repository and collections exist, whatever the address of the page says."""

from __future__ import annotations

from collections.abc import Sequence

from ..url_state import with_changes
from .shelf import PlotShelf, Which
from .state import CollectionsState

__all__ = ["usable", "words_of"]

_LONGEST_NAME = 100


def usable(
    shelf: PlotShelf, repositories: Sequence[str], state: CollectionsState
) -> tuple[CollectionsState, list[str], list[str]]:
    """Replace what does not exist by the defaults, so that the page lets its user choose something else.

    Parameters
    ----------
    shelf
        Figures of all repositories.
    repositories
        Names of the known repositories, the default one first.
    state
        What the address says.

    Returns
    -------
    state
        State with a known repository; its collection is empty if the repository has no figures.
    known
        Collections of the repository that have figures.
    notes
        Sentences on what does not exist.
    """
    notes = []
    if state.repo and state.repo not in repositories:
        notes.append(
            f"No repository {state.repo[:_LONGEST_NAME]!r} is known: name it in the repository index "
            "(DAF_BUTLER_REPOSITORY_INDEX)."
        )
        state = with_changes(state, repo="", collection="", other="", place="", plot="")
    state = with_changes(state, repo=state.repo or repositories[0])
    known = shelf.collections(state.repo)
    for field, name in (("collection", state.collection), ("other", state.other)):
        if not name or name in known:
            continue
        try:
            # It has no figures, but may have metrics.
            shelf.content(Which(state.repo, name))
        except LookupError as error:
            notes.append(words_of(error))
            state = with_changes(state, **{field: ""})
    if not state.collection:
        default = shelf.defaults.collection
        state = with_changes(state, collection=default if default in known else next(iter(known), ""))
    return state, known, notes


def words_of(error: BaseException) -> str:
    """Return the text of an error; that of a `KeyError` is quoted otherwise."""
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
