"""Tests of how networks are found."""

import sys
from importlib.metadata import EntryPoint

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError
from errklein.config.identity import NetworkSettings
from errklein.config.networks import Network, _entries, find_network, known_networks
from errklein.networks.null import NullBackend
from tests.processes import ROOT, run

THIN = Network(
    "Thin", "a network of a test", NetworkSettings({}), lambda context: NullBackend(context.reactor, context.config)
)
BROKEN = "no network"


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
        """Each network of errklein is found by its name, exactly as it is written."""
        self.assertLessEqual({"IRC", "Null", "Test", "Text"}, {network.name for network in known_networks()})
        for network in known_networks():
            self.assertIs(find_network(network.name), network)
        self.assertEqual([find_network(name) for name in ("irc", "base", "outbox", "no.such", "")], [None] * 5)

    def test_of_another_package(self) -> None:
        """An entry point names the descriptor."""
        self.entry("Thin", f"{__name__}:THIN")
        self.assertIs(find_network("Thin"), THIN)
        self.assertIn(THIN, known_networks())

    def test_broken_package(self) -> None:
        """A descriptor that can't be imported, or is none, is an error that names it."""
        for value, reason in ((f"{__name__}:BROKEN", "'no network'"), ("no_such_module:X", "ModuleNotFoundError")):
            self.entry("Thin", value)
            error = self.assertRaises(ConfigError, find_network, "Thin")
            self.assertIn(value, str(error))
            self.assertIn(reason, str(error))

    def test_only_what_is_named_is_imported(self) -> None:
        """The module of a network is imported when the configuration names it, and not before."""
        code = "import sys; from errklein.config.networks import find_network as f; f('Null'); print('errklein.networks.irc' in sys.modules)"
        self.assertEqual(run([sys.executable, "-c", code], cwd=ROOT).stdout.strip(), "False")
