"""Who uses the hub: the person whom the edge has logged in."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Float, Unicode

__all__ = ["TOKEN_HEADER", "USER_HEADER", "EdgeAuthenticator"]

USER_HEADER = "X-Auth-Request-User"
"""Header in which the edge names the person; the edge removes it from what browsers send."""
TOKEN_HEADER = "X-Edge-Token"
"""Header that only the edge can send."""


class EdgeAuthenticator(Authenticator):
    """Accept the name that the edge sends, without a form of its own.

    Anyone on this machine can reach the hub's port, so a request has to prove that it comes from the edge.
    """

    token_file = Unicode(help="File with the edge's token.").tag(config=True)
    auto_login = True
    # Asked at each page: somebody else may have logged in at the edge, in the same browser. 0 would be never.
    auth_refresh_age = Float(1e-9)

    async def authenticate(self, handler: Any, data: Any) -> str | None:
        """Return the person's name; `None` refuses the request."""
        headers = handler.request.headers
        token = Path(self.token_file).read_text(encoding="utf-8").strip()
        sent = headers.get(TOKEN_HEADER, "")
        if not token or not hmac.compare_digest(sent.encode(), token.encode()):
            self.log.warning("A login that did not come through the edge was refused.")
            return None
        name: str | None = headers.get(USER_HEADER)
        return name or None

    async def refresh_user(self, user: Any, handler: Any = None) -> bool:
        """Return whether the person of this request is still the one who logged in."""
        if handler is None:
            return True
        # Notebook servers ask the hub directly, with a token of their own.
        name = handler.request.headers.get(USER_HEADER)
        return name is None or name == user.name

    def normalize_username(self, username: str) -> str:
        """Return the name as it is: addresses contain it, and the edge compares them with its own."""
        return username
