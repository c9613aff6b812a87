"""`errklein network`: lists the networks that the bot may use, and checks that it can use the configured ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from errklein.compat.backends.finding import PACKAGES, find_network, network_class, network_plugs
from errklein.config import Config, located_errors
from errklein.logs import escape
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import DataDirectory, errors_end_program, load_with_options
from errklein.service.startup_checks import START_ERRORS, check_network
from errklein.text.masking import masker
from errklein.text.suggestions import did_you_mean

_INCLUDED = {
    "IRC": "IRC, with TLS and SASL",
    "Null": "the bot only serves webhooks",
    "Test": "for tests of plugins",
    "Text": "the terminal on which the bot runs",
}
"""The networks that errklein includes."""


def list_networks(config_file: str | None) -> int:
    """Print the configured networks, those that are available, and the packages of others. Return the exit status."""
    with errors_end_program():
        config = load_with_options(config_file)
    found = {plug.name: f"{plug.path}" for plug in network_plugs(config)}
    missing = {name: f"pip install {package}" for name, package in PACKAGES.items() if name not in found}
    sections = {
        "configured": {network: view.BACKEND for network, view in config.networks.items()},
        "available": _INCLUDED | dict(sorted(found.items())),
        "not installed; run in errklein's virtualenv": missing,
    }
    for title, lines in sections.items():
        width = max(map(len, lines), default=0) + 2
        _print(f"{title}:", *(f"  {name.ljust(width)}{text}" for name, text in lines.items()))
    return 0


def check_networks(config_file: str | None, data_dir: str | None, name: str | None) -> NoReturn:
    """Check the network of that name, or all, and print the results.

    :raises SystemExit: with status 1 if the bot can't use a network, or if the name is unknown.
    """
    # The reactor must be chosen before anything imports it.
    install_asyncio_reactor()
    with errors_end_program():
        config = load_with_options(config_file, data_dir=data_dir)
    named = {network: view for network, view in config.networks.items() if name in (None, network, view.BACKEND)}
    if not named:
        assert name is not None
        configured = ", ".join(config.networks)
        meant = did_you_mean(name, config.networks) or "."
        raise SystemExit(f"errklein: unknown network {name!r}{meant} Configured networks: {configured}")
    from twisted.internet.task import react

    async def check(reactor: Any) -> None:
        unusable = False
        for network, view in named.items():
            try:
                with located_errors(config, view):
                    check_network(view)
                text = await _check(reactor, view)
            except (*START_ERRORS, ConnectionError) as error:
                _print(f"problem: {network}: {error}")
                unusable = True
            else:
                _print(f"{network}: {text}")
        if unusable:
            raise SystemExit(1)

    react(lambda reactor: Deferred.fromCoroutine(check(reactor)))


async def _check(reactor: Any, view: Config) -> str:
    """Return a sentence about a network that the bot can use; raise ConfigError or ConnectionError with the reason if it can't."""
    if view.BACKEND == "IRC":
        return await _check_irc(reactor, view)
    if view.BACKEND == "Text":
        if not sys.stdin.isatty():
            raise ConnectionError("Text needs a terminal, and standard input isn't one")
        return "the bot talks on this terminal"
    if view.BACKEND in _INCLUDED:
        return f"nothing to connect to: {_INCLUDED[view.BACKEND]}"
    plug = find_network(view)
    network_class(plug)
    return f"{plug.path} can be loaded; only a start of the bot shows whether its server accepts BOT_IDENTITY"


async def _check_irc(reactor: Any, view: Config) -> str:
    from errklein.backends.irc.connection_check import ConnectionCheck

    check = ConnectionCheck(reactor, view)
    settings = check.settings
    server = f"{settings.server}:{settings.port}{' with TLS' if settings.tls else ''}"
    try:
        nick = await check.nick()
    except ConnectionError as error:
        raise ConnectionError(f"{server}: {error}") from None
    text = f"{server} accepts the bot as {nick}"
    if view.BOT_IDENTITY.get("nickserv_password"):
        text += "; its password for NickServ isn't checked, since that takes a message"
    if nick == settings.nickname:
        return text
    taken = f"{text}, since the nick {settings.nickname} is in use, or too long for the server"
    if DataDirectory(Path(view.BOT_DATA_DIR)).is_used():
        return f"{taken}; a bot runs, perhaps with this nick"
    raise ConnectionError(taken)


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{escape(masker(line))}\n" for line in lines))
