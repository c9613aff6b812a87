"""`errklein network`: lists the networks that the bot may use, and checks that it can use the configured ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from errklein.config import Config, located_errors
from errklein.logs import escape
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import DataDirectory, errors_end_program, load_with_options
from errklein.service.startup_checks import START_ERRORS, check_network
from errklein.text.masking import masker
from errklein.text.suggestions import did_you_mean
from errklein.wiring import other_networks

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
    found = {plug.name: str(plug.path) for plug in other_networks().network_plugs(config)}
    for title, lines in (
        ("configured", {network: view.BACKEND for network, view in config.networks.items()}),
        ("available", _INCLUDED | dict(sorted(found.items()))),
        (
            "not installed; run in errklein's virtualenv",
            {x: f"pip install {y}" for x, y in other_networks().PACKAGES.items() if x not in found},
        ),
    ):
        width = max(map(len, lines), default=0) + 2
        _print(f"{title}:", *(f"  {name.ljust(width)}{text}" for name, text in lines.items()))
    return 0


def check_networks(config_file: str | None, data_dir: str | None, name: str | None) -> NoReturn:
    """Check the network of that name, or all, and print the results. Raise SystemExit, with status 1 if one can't be used."""
    # The reactor must be chosen before anything imports it.
    install_asyncio_reactor()
    with errors_end_program():
        config = load_with_options(config_file, data_dir=data_dir)
    views = {network: view for network, view in config.networks.items() if name in (None, network, view.BACKEND)}
    if not views:
        meant = did_you_mean(name or "", config.networks) or "."
        configured = ", ".join(config.networks)
        raise SystemExit(f"errklein: unknown network {name!r}{meant} Configured networks: {configured}")
    from twisted.internet.task import react

    async def check(reactor: Any) -> None:
        status = 0
        for network, view in views.items():
            try:
                with located_errors(config, view):
                    check_network(view)
                _print(f"{network}: {await _check(reactor, view)}")
            except (*START_ERRORS, ConnectionError) as error:
                _print(f"problem: {network}: {error}")
                status = 1
        raise SystemExit(status)

    react(lambda reactor: Deferred.fromCoroutine(check(reactor)))


async def _check(reactor: Any, view: Config) -> str:
    """Return a sentence about a network that the bot can use; raise ConfigError or ConnectionError with the reason if it can't."""
    if view.BACKEND == "Text" and not sys.stdin.isatty():
        raise ConnectionError("Text needs a terminal, and standard input isn't one")
    if view.BACKEND not in _INCLUDED:
        return f"{other_networks().find_network(view).path} is installed; only a start of the bot shows whether it connects"
    if view.BACKEND != "IRC":
        return f"nothing to connect to: {_INCLUDED[view.BACKEND]}"
    from errklein.backends.irc.connection_check import ConnectionCheck

    return await ConnectionCheck(reactor, view).result(DataDirectory(Path(view.BOT_DATA_DIR)).is_used())


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{escape(masker(line))}\n" for line in lines))
