"""Log in at an edge whose provider asks for a name only."""

from __future__ import annotations

import html
import re
from urllib.parse import urljoin

import requests

from prompt_processing.edge import Edge

PAGE = {"Accept": "text/html"}
"""What a browser asks for when it opens a page."""


def log_in(edge: Edge, trusted: str, name: str, page: str = "/") -> requests.Session:
    """Return a session of a person.

    Parameters
    ----------
    edge
        The edge.
    trusted
        File with the certificate that verifies the edge's.
    name
        What the person types.
    page
        Page that was asked for, and that the login has to lead back to.
    """
    session = requests.Session()
    session.verify = trusted
    # Otherwise a bundle that this machine names would replace it.
    session.trust_env = False
    form = session.get(edge.url + page, headers=PAGE)
    assert "<form" in form.text, form.text
    # The provider's own form; its address has the request of the edge.
    action = re.search(r'<form[^>]*action="([^"]*)"', form.text)
    target = urljoin(form.url, html.unescape(action[1])) if action else form.url
    done = session.post(target, data={"sub": name}, headers=PAGE)
    assert done.url == edge.url + page, done.text
    return session
