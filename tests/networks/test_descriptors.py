"""Tests of how networks are found, and of the source: no other part knows a network by its name."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from unittest import mock, skipIf

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.stored_classes import find_restored_class
from errklein.config import ConfigError, load_config
from errklein.config.networks import _entries, find_network, known_networks, network_of
from errklein.service.startup_checks import check_network, is_replaced, network_warnings
from errklein.testing import TestReactor
from errklein.wiring import make_backend
from tests.compat import BACKENDS as FIXTURES
from tests.floors import PACKAGE
from tests.networks.thin import NETWORK as THIN
from tests.processes import ROOT, run

THIN_ENTRY = "tests.networks.thin:NETWORK"
BROKEN = "no network"

ALLOWED = {
    "core_plugins/textcmds.py": "errbot's core plugin for the Text network",
    "sources/__init__.py": "formats of services that also are networks",
    "sources/post/__init__.py": "formats of services that also are networks",
    "core_plugins/versionchecker.py": "errbot's core plugin names the networks without it",
    "verify/__init__.py": "its schemes have the names of services",
}
"""Parts that may know a network, besides `compat`, `config`, and `testing`, which plays the Test network."""


class DescriptorTests(SynchronousTestCase):
    """Networks of errklein, and those of other packages."""

    def entry(self, name: str, value: str) -> None:
        """Let another package offer a network."""
        found = [EntryPoint(name, value, "errklein.networks")]
        self.patch(sys.modules["errklein.config.networks"], "entry_points", lambda group: found)
        for cached in (_entries, find_network):
            cached.cache_clear()
            self.addCleanup(cached.cache_clear)

    def test_own(self) -> None:
        """Each network of errklein is found by its name, in any case."""
        self.assertLessEqual({"IRC", "Null", "Test", "Text"}, {network.name for network in known_networks()})
        for network in known_networks():
            self.assertIs(find_network(network.name), network)
        self.assertIs(find_network("irc"), find_network("IRC"))
        self.assertEqual([find_network(name) for name in ("base", "outbox", "no.such", "")], [None] * 4)

    def test_of_another_package(self) -> None:
        """An entry point names the descriptor."""
        self.entry("Thin", THIN_ENTRY)
        self.assertIs(find_network("Thin"), THIN)
        self.assertIn(THIN, known_networks())

    def test_broken_package(self) -> None:
        """A descriptor that can't be imported, or is none, is an error that names it."""
        for value, reason in ((f"{__name__}:BROKEN", "'no network'"), ("no_such_module:X", "ModuleNotFoundError")):
            self.entry("Thin", value)
            error = self.assertRaises(ConfigError, find_network, "Thin")
            self.assertIn(value, str(error))
            self.assertIn(reason, str(error))

    def test_settings(self) -> None:
        """The configuration knows what the descriptor says: required keys, administrators, and defaults."""
        self.entry("Thin", THIN_ENTRY)
        base = {"BACKEND": "thin", "BOT_IDENTITY": {"url": "https://chat.example.org"}, "BOT_ADMINS": ("@alice",)}
        config = load_config(None, base)
        self.assertEqual((config.BACKEND, config.network), ("Thin", "thin"))
        self.assertIs(network_of(config), THIN)
        self.assertTrue(config.COMPACT_OUTPUT)
        self.assertEqual(config.MESSAGE_SIZE_LIMIT, 77)
        several = load_config(None, {"NETWORKS": {"a": base, "b": {"BACKEND": "Null"}}})
        self.assertEqual([view.MESSAGE_SIZE_LIMIT for view in several.networks.values()], [77, None])
        self.assertFalse(load_config(None, base | {"COMPACT_OUTPUT": False}).COMPACT_OUTPUT)
        for change, problem in (
            ({"BOT_IDENTITY": {}}, "BOT_IDENTITY: 'url' is missing; Thin requires a non-empty string"),
            (
                {"BOT_ADMINS": ()},
                "BOT_ADMINS is missing; Thin requires a tuple of the administrators' names, such as ('@alice',)",
            ),
        ):
            self.assertEqual(str(self.assertRaises(ConfigError, load_config, None, base | change)), problem)
        with self.patched(sends_only=True):
            self.assertEqual(load_config(None, base | {"BOT_ADMINS": ()}).BOT_ADMINS, ())

    @contextmanager
    def patched(self, **changes: object) -> Iterator[None]:
        """Let the descriptor have other values."""
        find_network.cache_clear()
        with mock.patch("tests.networks.thin.NETWORK", replace(THIN, **changes)):  # type: ignore[arg-type]
            yield
        find_network.cache_clear()

    def test_check(self) -> None:
        """The checks before a start are those of the descriptor; a missing library is an error that names the extra."""
        self.entry("Thin", THIN_ENTRY)
        base = {"BACKEND": "Thin", "BOT_IDENTITY": {"url": "https://chat.example.org"}, "BOT_ADMINS": ("@alice",)}
        check_network(load_config(None, base))
        error = self.assertRaises(ConfigError, check_network, load_config(None, base | {"BOT_IDENTITY": {"url": "x"}}))
        self.assertEqual(str(error), "BOT_IDENTITY: 'url' must be a URL")
        self.assertEqual(
            list(network_warnings(load_config(None, base | {"BOT_IDENTITY": {"url": "https:", "ulr": "x"}}))),
            ["BOT_IDENTITY: unknown key 'ulr'; did you mean 'url'?"],
        )
        with self.patched(libraries=("no_such_library",), extra="errklein[thin]"):
            for check in (check_network, partial(make_backend, None)):
                error = self.assertRaises(ConfigError, check, load_config(None, base))
                self.assertEqual(
                    str(error),
                    "BACKEND: Thin needs the library no_such_library, which isn't installed; install the extra errklein[thin]",
                )

    def test_stored_values(self) -> None:
        """Stored values may contain what a descriptor lists, whether the network is configured or not, and nothing else of it."""
        self.entry("Thin", THIN_ENTRY)
        for module, name in (
            ("tests.networks.thin", "ThinPerson"),
            ("errklein.networks.irc.identifiers", "IRCPerson"),
            ("errklein.backends.irc.identifiers", "IRCPerson"),
            ("errklein.networks.test", "TestRoomAcl"),
            ("errbot.backends.irc", "IRCPerson"),
        ):
            self.assertEqual(getattr(find_restored_class("Greeter", module, name), "__name__", None), name)
        for module, name in (
            ("tests.networks.thin", "Other"),
            ("errklein.networks.irc.identifiers", "is_nick"),
            ("errklein.networks.no_such_network", "Person"),
            ("no_such_package", "ThinPerson"),
        ):
            self.assertIsNone(find_restored_class("Greeter", module, name), (module, name))

    def test_networks_of_errklein_exist(self) -> None:
        """Whatever a descriptor of errklein lists is defined there."""
        for network in known_networks():
            for value in network.values:
                module, _, name = value.partition(":")
                self.assertEqual(getattr(import_module(module), name).__module__, module)
                self.assertIs(find_restored_class("Greeter", module, name), getattr(import_module(module), name))

    @skipIf(find_spec("errklein.compat.backends") is None, "networks written for errbot aren't supported")
    def test_written_for_errbot(self) -> None:
        """A network that is written for errbot wins over errklein's own of that name, with a line in the log."""
        self.entry("Once", THIN_ENTRY)
        settings = {"BACKEND": "once", "BOT_IDENTITY": {"url": "https:"}, "BOT_ADMINS": ("@alice",)}
        lines: list[str] = []

        def observer(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        with self.patched(name="Once"):
            own = load_config(None, settings, is_replaced=is_replaced)
            self.assertEqual(getattr(network_of(own), "name", None), "Once")
            settings |= {"BOT_EXTRA_BACKEND_DIR": str(FIXTURES), "BOT_IDENTITY": {}}
            config = load_config(None, settings, is_replaced=is_replaced)
            self.assertIsNone(network_of(config))
            self.assertEqual(make_backend(TestReactor(), config).mode, "lines")
        self.assertIn("Once is a network that is written for errbot, not errklein's own", lines)

    def test_only_what_is_named_is_imported(self) -> None:
        """The module of a network is imported when the configuration names it, and not before."""
        code = "import sys; from errklein.config.networks import find_network as f; f('Null'); print('errklein.networks.irc' in sys.modules)"
        self.assertEqual(run([sys.executable, "-c", code], cwd=ROOT).stdout.strip(), "False")


class SourceTests(SynchronousTestCase):
    """The source outside of the folders of networks."""

    def test_no_names_of_networks(self) -> None:
        """Nothing imports a network, compares a kind of network, or has the name of one that isn't an ordinary word."""
        networks = {network.name.lower() for network in known_networks()}
        names = networks - {"text", "test", "null"}
        found: list[str] = []
        for path in sorted(PACKAGE.rglob("*.py")):
            where = path.relative_to(PACKAGE).as_posix()
            if where.startswith(("networks/", "compat/", "config/", "testing/")) or where in ALLOWED:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if _knows(node, names, networks):
                    found.append(f"{where}:{node.lineno}")  # type: ignore[attr-defined]
        self.assertEqual(found, [])


def _knows(node: ast.AST, names: set[str], networks: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith(tuple(f"errklein.networks.{name}" for name in networks))
    if isinstance(node, ast.Compare):
        parts = list(ast.walk(node))
        kind = any(isinstance(part, ast.Attribute) and part.attr in ("mode", "BACKEND") for part in parts)
        return kind and any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lower() in names
