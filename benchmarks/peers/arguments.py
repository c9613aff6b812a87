"""The command line of each peer: `python PEER.py PORT [--routes N] [--certificate FILE --key FILE] [--access-log]`."""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
from typing import Any

HOST = "127.0.0.1"


def parse() -> argparse.Namespace:
    """Return the arguments, and configure the logging module: INFO with an access log, otherwise WARNING."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--routes", type=int, default=0, help="additional routes /routes/0, /routes/1, …")
    parser.add_argument("--certificate", help="serve HTTPS with this file")
    parser.add_argument("--key", help="the certificate's key")
    parser.add_argument("--access-log", action="store_true", help="log each request")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO if arguments.access_log else logging.WARNING)
    return arguments


def paths(arguments: argparse.Namespace, first: str) -> list[str]:
    """Return the path `first` and those of the additional routes."""
    return [first, *(f"/routes/{number}" for number in range(arguments.routes))]


def tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context for HTTPS; None for HTTP."""
    if arguments.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.certificate, arguments.key)
    return context


def serve_with_twisted(arguments: argparse.Namespace, resource: Any) -> None:
    """Serve a resource on Twisted's default reactor."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString
    from twisted.python import log
    from twisted.web.server import Site

    if arguments.access_log:
        log.startLogging(sys.stdout)
    endpoint = f"tcp:{arguments.port}:interface={HOST}"
    if arguments.certificate is not None:
        keys = f"privateKey={arguments.key}:certKey={arguments.certificate}"
        endpoint = f"ssl:{arguments.port}:{keys}:interface={HOST}"
    serverFromString(reactor, endpoint).listen(Site(resource))
    reactor.run()  # type: ignore[attr-defined]
