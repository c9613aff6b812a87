"""`errklein report`: what a report of a problem needs, as text without secrets."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from errklein._version import COMMIT, __version__
from errklein.cli import _data as data
from errklein.compat.stored_classes import plugs_of
from errklein.config import SETTINGS, Config, ConfigError, SecretError, read_secret
from errklein.config.warnings import shown_settings
from errklein.journal import DATABASE, JournalArchive
from errklein.logs import escape, last_lines
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.repos.git import head
from errklein.plugins.repos.sources import RepoException
from errklein.plugins.subprocesses import ProgramError, run
from errklein.service import DataDirectory, load_with_options
from errklein.text.masking import masker, secrets_in
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState
from errklein.webhooks.exported import grouped, shown_time
from errklein.webhooks.options import hook_options

_CHECK_SECONDS = 60.0
_SEARCHED, _MOST_ERRORS = 5000, 10
"""The numbers of lines of the log in which errors are searched, and of errors that are printed, the latest."""

_IS_ERROR = re.compile(r"\b(?:error|critical)\b", re.IGNORECASE)
_FALLBACK = ("Twisted", "klein", "treq", "Werkzeug", "Jinja2")


def report(known: argparse.Namespace) -> int:
    """Print the report, and return 0: a part that can't be found out is named, and the others are printed nevertheless.

    All that may be a secret is learned first: values of the environment under secret names, settings, and plugins' configurations.
    """
    masker.learn(known.parser, "environment", secrets_in(dict(os.environ)))
    sections: dict[str, Callable[[], Iterable[str]]] = {"Versions": _versions}
    try:
        config = load_with_options(known.config, data_dir=known.data_dir)
    except ConfigError as error:
        # The text of an exception that the file raises may have any of its values.
        problem = re.sub(r"( raised \w+(?: at line \d+)?).*", r"\1", str(error).partition("\n")[0])
        sections["Settings"] = lambda: [problem]
    else:
        sections |= {
            "Settings": partial(_settings, config),
            "Plugins": lambda: sorted(f"{plug.name} {_version_of(plug)}" for plug in plugs_of(config) if not plug.core),
            "Check": partial(_check, known),
            "Queues": partial(_queues, config),
            "Errors": partial(_errors, config),
        }
    lines: list[str] = []
    for title, section in sections.items():
        try:
            found = list(section())
        except Exception as error:
            # Its text may have anything.
            found = [f"can't be found out: {type(error).__name__}"]
        lines += [f"{title}:", *(f"  {line}" for line in found or ["none"]), ""]
    sys.stdout.write("".join(f"{escape(line)}\n" for line in masker("\n".join(lines)).split("\n")[:-1]))
    return 0


def _versions() -> Iterator[str]:
    yield f"errklein {__version__}{COMMIT and f', commit {COMMIT}'}"
    yield f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION}"
    with suppress(OSError):
        yield platform.freedesktop_os_release()["PRETTY_NAME"]
    yield platform.platform()
    needed: Iterable[str] = _FALLBACK
    with suppress(PackageNotFoundError):
        needed = [re.split(r"[^\w.-]", one)[0] for one in requires("errklein") or () if "extra ==" not in one]
    for name in sorted(needed, key=str.lower):
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def _settings(config: Config) -> Iterator[str]:
    """Yield the settings that are set; of those that plugins read, whose values may be anything, only the names."""
    for network, view in config.networks.items():
        yield f"network {network}: {view.BACKEND}"
    for line in shown_settings(config, {}):
        name, location = line.partition(" = ")[0], line.rpartition("  # ")[2]
        if location != "default":
            yield line if name.removesuffix("']").rpartition("'")[2] in SETTINGS else f"{name} is set  # {location}"


def _version_of(plug: PlugFile) -> str:
    """Return the version of the distribution that has the plugin, or the commit of its repository."""
    installed = packages_distributions() if {"site-packages", "dist-packages"}.intersection(plug.path.parts) else {}
    for directory in plug.path.parents:
        if names := installed.get(directory.name):
            return f"of {names[0]} {version(names[0])}"
        with suppress(RepoException):
            if (directory / ".git").exists():
                return f"of {directory.name} at commit {head(directory)[:12]}"
    return "without a version"


def _check(known: argparse.Namespace) -> Iterator[str]:
    """Yield what `errklein check` prints of plugins' states, problems and warnings. A plugin that ends the process ends another one."""
    options = [
        option
        for name in ("config", "data_dir")
        if (value := vars(known)[name])
        for option in (f"--{name}".replace("_", "-"), value)
    ]
    # The process finds modules where this one does, so errklein needn't be installed.
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from errklein.cli import main; sys.exit(main())"
    )
    try:
        output = run(
            [sys.executable, "-P", "-c", code, json.dumps(sys.path), "check", *options], seconds=_CHECK_SECONDS
        )
    except ProgramError as error:
        output = error.output or str(error)
    # Indented lines are about single commands, or quote a source.
    yield from (line for line in output.splitlines() if line.strip() and not line.startswith(" "))


def _queues(config: Config) -> Iterator[str]:
    directory = DataDirectory(Path(config.BOT_DATA_DIR))
    yield "a bot runs" if directory.is_used() else "no bot runs"
    if config.STORAGE == "Memory" or not (path := directory.path / DATABASE).exists():
        yield "there is no journal"
        return
    with closing(JournalArchive(path)) as archive:
        depth = archive.depth()
        oldest = f", the oldest since {shown_time(depth.oldest_at)}" if depth.oldest_at else ""
        yield f"deliveries: {depth.waiting} waiting, {depth.running} running, {depth.dead} dead{oldest}; {depth.size} bytes"
        yield f"paused webhooks: {', '.join(archive.paused()) or 'none'}"
        yield from (
            f"messages waiting for {network}: {number}" for network, number in archive.waiting_messages().items()
        )


def _errors(config: Config) -> Iterator[str]:
    """Yield the latest errors of the log without the lines of sources, and failed deliveries. Raises an exception if secrets are unknown."""
    for options in hook_options(config.setting("WEBHOOKS")).values():
        for reference in options["verify"].secrets if options.get("verify") else ():
            with suppress(SecretError):
                read_secret(reference)
    if config.STORAGE != "Memory":
        with data.storage_to_read(config, missing_ok=True) as storage, closing(storage.open("core")) as store:
            configurations = store.read("configs", {})[1]
        masker.learn(config, "configurations of plugins", secrets_in(configurations))
    file = config.BOT_LOG_FILE
    if not file:
        yield "the log isn't in BOT_LOG_FILE; add its last errors, such as those of: journalctl -u errklein -p err -n 10"
    elif Path(file).is_file():
        events: list[list[str]] = []
        for line in last_lines(Path(file), _SEARCHED):
            if not line.startswith("\t"):
                events.append([line])
            elif events and re.match(r"\t(?:\S| *File )", line):
                events[-1].append(line.expandtabs(2))
        errors = [event for event in events if _IS_ERROR.search(event[0][:200])]
        yield from (line for event in errors[-_MOST_ERRORS:] for line in event)
    path = Path(config.BOT_DATA_DIR) / DATABASE
    if config.STORAGE != "Memory" and path.exists():
        with closing(JournalArchive(path)) as archive:
            failed = DeliveryQuery(states=(DeliveryState.FAILED, DeliveryState.DEAD), limit=100)
            yield from grouped(archive.find(failed))
