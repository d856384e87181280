"""Addresses of servers in settings."""

from __future__ import annotations


def split_address(address: str, default_port: int) -> tuple[str, int]:
    """Split ``host`` or ``host:port``.

    Parameters
    ----------
    address : `str`
        The address; IPv6 addresses are in brackets.
    default_port : `int`
        Port to use if the address has none.

    Returns
    -------
    host : `str`
        Host without brackets.
    port : `int`
        Port from 1 to 65535.

    Raises
    ------
    ValueError
        Raised for any other form. The message does not repeat the address, which may hold a password.
    """
    host, separator, port = address.strip().rpartition(":")
    if not separator or port.endswith("]"):
        host, port = address.strip(), str(default_port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "/" in host or "@" in host:
        raise ValueError("not of the form host or host:port")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ValueError("not of the form host or host:port")
    return host, int(port)
