"""Check of the endpoints of the web server and the server for monitoring before a daemon forks, so that errors appear
on the terminal. Each address is bound and released again, since nothing may stay open during the fork."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from errklein.config import ConfigError
from errklein.listening import identify, in_use_by_another, listen_problem, server_endpoint, unix_problem
from errklein.listening.pem import CertificateError

EXPECTED = "a Twisted endpoint such as tcp:3141:interface=127.0.0.1"  # the end of errors about an invalid description

_READABLE = (
    (r"bind\(\): port must be .*", "a port is a number from 0 to 65535"),
    (r"invalid literal for int\(\) with base \d+: (.*)", r"\1 isn't a number"),
    (r".*unexpected keyword argument ('\w+')", r"unknown argument \1"),
    (r".*missing \d+ required positional arguments?: (.*)", r"\1 is missing"),
    (r".*takes .*positional arguments? but .*", "too many arguments"),
    (r"module 'socket' has no attribute 'AF_(\w+)'", r"unknown domain '\1'"),
)
"""Patterns of Python's error messages about a description, each with the message for the operator."""


def check_endpoint(description: str, source: str = "--web", *, bind: bool = True) -> None:
    """Raise ConfigError, which names the option or setting, if the endpoint is invalid, or if its address can't be
    bound now. Sockets that systemd has opened are not used, since each can be used only once. Without `bind`, nothing
    counts that another process or user may have."""
    try:
        _check(description, bind)
    except OSError as error:
        reason = listen_problem(error)
    except CertificateError as error:
        reason = str(error)
        if not bind and os.strerror(errno.EACCES) in reason:
            # The bot's user may be another one.
            return
    except Exception as error:
        reason = f"{_reason(error)}; expected {EXPECTED}"
    else:
        return
    raise ConfigError(f"{source} {description or repr(description)}: {reason}")


def _check(description: str, bind: bool) -> None:
    try:
        identify(description)
    except ValueError as error:
        raise OSError(str(error)) from None
    inherited = "systemd" in description.split(":")
    try:
        endpoint = server_endpoint(_BindCheckReactor(), description)
    except LookupError:
        if not inherited:
            raise
        if bind:
            raise OSError("systemd hasn't passed such a socket") from None
        return
    if bind and not inherited:
        failures: list[Failure] = []
        endpoint.listen(Factory()).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    for pattern, meaning in _READABLE:
        found = re.fullmatch(pattern, text)
        if found is not None:
            return found.expand(meaning)
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}".strip()


class _BindCheckReactor:
    """The part of a reactor that endpoints need to listen. Each address is bound and released at once. Raises OSError
    with the reason if the address, file or directory can't be used."""

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> None:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((interface, port))
            except OSError as error:
                raise OSError(listen_problem(error, port, interface)) from error

    def listenUNIX(
        self, address: str, factory: Factory, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> None:
        path = Path(os.fsdecode(address))
        if problem := unix_problem(path):
            raise OSError(problem)
        if not path.exists():
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(in_use_by_another(path))
