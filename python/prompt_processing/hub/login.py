"""Who uses the hub: the person whom the edge, or Gafaelfawr, has logged in.

`bin/charts document` copies this file into the chart ``prompt-hub``: the hub's image in a cluster has
JupyterHub but not this package, of which this file imports nothing.
"""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.web import HTTPError
from traitlets import Float, Unicode

__all__ = [
    "DELEGATED_HEADER",
    "TOKEN_HEADER",
    "USER_HEADER",
    "EdgeAuthenticator",
    "GafaelfawrAuthenticator",
]

USER_HEADER = "X-Auth-Request-User"
"""Header in which the edge names the person; the edge removes it from what browsers send."""
TOKEN_HEADER = "X-Edge-Token"
"""Header that only the edge can send."""
DELEGATED_HEADER = "X-Auth-Request-Token"
"""Header with the token by which Gafaelfawr lets a page act for a person."""


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


class GafaelfawrAuthenticator(EdgeAuthenticator):
    """Accept the person whose delegated token Gafaelfawr confirms.

    Notebook servers reach the hub without going through the ingress, so a name in a header proves nothing.
    """

    user_info_url = Unicode(
        help="Where Gafaelfawr says whose a token is: https://HOST/auth/api/v1/user-info."
    ).tag(config=True)

    async def authenticate(self, handler: Any, data: Any) -> str | None:
        """Return the person's name; `None` refuses the request.

        Raises
        ------
        tornado.web.HTTPError
            Raised with status 503 if Gafaelfawr does not respond.
        """
        token = handler.request.headers.get(DELEGATED_HEADER, "")
        if not token:
            self.log.warning("A login that did not come through Gafaelfawr was refused.")
            return None
        headers = {"Authorization": f"Bearer {token}"}
        # The token belongs to this address alone.
        request = HTTPRequest(self.user_info_url, headers=headers, follow_redirects=False)
        try:
            answer = await AsyncHTTPClient().fetch(request)
        except HTTPClientError as error:
            if error.code in (401, 403):
                self.log.warning("Gafaelfawr refused the token of a login.")
                return None
            raise self._unavailable(error) from error
        except OSError as error:
            raise self._unavailable(error) from error
        name: str | None = json.loads(answer.body).get("username")
        return name or None

    def _unavailable(self, error: Exception) -> HTTPError:
        self.log.error("Gafaelfawr does not respond at %s: %s", self.user_info_url, error)
        return HTTPError(503, reason="The login service does not respond. Try again in a minute.")
