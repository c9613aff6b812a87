"""`errklein report`: what a report of a problem needs, as text without secrets."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import chain
from pathlib import Path

from errklein._version import __version__
from errklein.cli import _data as data
from errklein.cli._control import perform
from errklein.cli._parser import print_lines
from errklein.compat.stored_classes import plugs_of
from errklein.config import SETTINGS, Config, ConfigError, SecretError, read_secret, take_variables
from errklein.config.review import shown_settings
from errklein.logs import last_lines
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.repos.sources import RepoException, head
from errklein.plugins.subprocesses import ProgramError, run
from errklein.service import DataDirectory, load_with_options
from errklein.text.masking import masker, secrets_in
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState
from errklein.webhooks.exported import grouped
from errklein.webhooks.options import hook_options
from errklein.wiring import open_archive

_CHECK_SECONDS, _STATUS_SECONDS = 60.0, 10.0
_SEARCHED, _MOST_ERRORS = 5000, 10
_IS_ERROR = re.compile(r"\b(?:error|critical)\b", re.IGNORECASE)


def report(known: argparse.Namespace) -> int:
    """Print the report, and return 0: a part that can't be found out is named, and the others are printed nevertheless."""
    masker.learn(known.parser, "environment", secrets_in(dict(os.environ)))
    sections: dict[str, Callable[[], Iterable[str]]] = {"Versions": _versions}
    variables = take_variables(os.environ)
    try:
        config = load_with_options(known.config, data_dir=known.data_dir, variables=variables)
    except ConfigError as error:
        # The text of an exception that the file raises may have any of its values.
        problem = re.sub(r"( raised \w+(?: at line \d+)?).*", r"\1", str(error).partition("\n")[0])
        sections["Settings"] = lambda: [problem]
    else:
        sections |= {
            "Settings": partial(_settings, config),
            "Plugins": lambda: sorted(f"{one.name}{_commit_of(one)}" for one in plugs_of(config) if not one.core),
            "Check": partial(
                _check, ["--config", known.config] if known.config else [], config.BOT_DATA_DIR, variables
            ),
            "Queues": partial(_queues, config),
            "Errors": partial(_errors, config),
        }
    lines: list[str] = []
    for title, section in sections.items():
        try:
            found = list(section())
        except (Exception, SystemExit) as error:
            # Its text may have anything.
            found = [f"can't be found out: {type(error).__name__}"]
        lines += [f"{title}:", *(f"  {line}" for line in found or ["none"]), ""]
    return print_lines(masker("\n".join(lines)).split("\n")[:-1], mask=str)


def _versions() -> Iterator[str]:
    yield f"errklein {__version__}"
    yield f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.platform()}"
    needed = ["Twisted", "klein"]
    with suppress(PackageNotFoundError):
        needed = [re.split(r"[^\w.-]", one)[0] for one in requires("errklein") or () if "extra ==" not in one]
    for name in sorted([*needed, "psycopg"], key=str.lower):
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def _settings(config: Config) -> Iterator[str]:
    """Yield the networks, and the settings that are set; of those that plugins read, whose values may be anything, only the names."""
    yield from (f"network {network}: {view.BACKEND}" for network, view in config.networks.items())
    for line in shown_settings(config, {}):
        name, location = line.partition(" = ")[0], line.rpartition("  # ")[2]
        if location != "default":
            yield line if name.removesuffix("']").rpartition("'")[2] in SETTINGS else f"{name} is set  # {location}"


def _commit_of(plug: PlugFile) -> str:
    for directory in plug.path.parents:
        with suppress(RepoException):
            return f" of {directory.name} at commit {head(directory)[:12]}" if (directory / ".git").exists() else ""
    return ""


def _check(options: list[str], directory: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the states of plugins, problems and warnings that `errklein check` prints, in a process that plugins may
    end. It gets the variables of settings, which this process has removed from its environment."""
    # It finds modules where this process does, so errklein needn't be installed.
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from errklein.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-P", "-c", code, json.dumps(sys.path), "check", *options, "--data-dir", directory]
    try:
        output = run(command, seconds=_CHECK_SECONDS, env=variables)
    except ProgramError as error:
        output = error.output or str(error)
    # Indented lines are about single commands, or quote a source.
    return (line for line in output.splitlines() if line.strip() and not line.startswith(" "))


def _queues(config: Config) -> Iterator[str]:
    directory = DataDirectory(Path(config.BOT_DATA_DIR))
    if config.STORAGE != "Memory":
        with closing(open_archive(config, missing_ok=True)) as archive:
            depth, paused = archive.depth(), ", ".join(archive.paused()) or "none"
            yield f"deliveries: {depth.waiting} waiting, {depth.running} running, {depth.dead} dead; paused webhooks: {paused}"
            yield from (f"messages waiting for {name}: {number}" for name, number in archive.waiting_messages().items())
    if not directory.is_used():
        yield "no bot runs"
        return
    status = perform(directory.path, "process.status", seconds=_STATUS_SECONDS)
    for network in status["networks"]:
        seconds = network["connected_for"]
        connected = "not connected" if seconds is None else f"connected for {seconds:.0f} s"
        yield f"network {network['name']}: {connected}"
    yield from (f"errors of the last hour in {source}: {number}" for source, number in status["errors"].items())


def _errors(config: Config) -> Iterator[str]:
    """Yield the latest errors of the log, without lines of sources, and failed deliveries. Fails if secrets can't be read."""
    webhooks = config.setting("WEBHOOKS")
    own = [
        options["verify"].secrets if options.get("verify") else options.get("secret", ())
        for options in hook_options(webhooks).values()
    ]
    for reference in (*chain(*own), *(options["secret"] for name, options in webhooks.items() if ":" not in name)):
        with suppress(SecretError):
            read_secret(reference)
    if config.STORAGE != "Memory":
        with data.storage_to_read(config, missing_ok=True) as storage, closing(storage.open("core")) as store:
            masker.learn(config, "configurations of plugins", secrets_in(store.read("configs", {})[1]))
    if not config.BOT_LOG_FILE:
        yield "the log isn't in BOT_LOG_FILE; add its last errors, such as those of: journalctl -u errklein -p err -n 10"
    elif Path(config.BOT_LOG_FILE).is_file():
        events: list[list[str]] = []
        for line in last_lines(Path(config.BOT_LOG_FILE), _SEARCHED):
            if not line.startswith("\t"):
                events.append([line])
            elif events and re.match(r"\t(?:\S| *File )", line):
                events[-1].append(line.expandtabs(2))
        errors = [event for event in events if _IS_ERROR.search(event[0][:200])]
        yield from (line for event in errors[-_MOST_ERRORS:] for line in event)
    if config.STORAGE != "Memory":
        with closing(open_archive(config, missing_ok=True)) as archive:
            failed = DeliveryQuery(states=(DeliveryState.FAILED, DeliveryState.DEAD), limit=100)
            yield from grouped(archive.find(failed))
