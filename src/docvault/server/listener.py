"""The socket that the API processes share."""

import socket


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; raises `OSError` if the address is in use.

    It begins to listen when the first process serves. Until then connections are refused
    instead of waiting for a process to start, so that a proxy sends its requests elsewhere.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
