"""`errbot.backend_plugin_manager`."""

from __future__ import annotations

import types
from importlib import import_module
from typing import Any

from errklein import bootstrap
from errklein.bootstrap import CORE_STORAGE, get_storage_plugin
from errklein.compat._utils import BackendPluginManager, PluginNotFoundException, enumerate_backend_plugins
from errklein.compat.core import ErrBot
from errklein.compat.storages import StoragePluginBase
from errklein.config import STORAGES
from tests.compat import BACKENDS as FIXTURES
from tests.compat.test_storages import StorageCase
from tests.plugin_files import PluginFilesTestCase


class BackendPluginManagerTests(PluginFilesTestCase):
    """Lookup of a backend by name."""

    def config(self) -> Any:
        config = types.SimpleNamespace(BOT_ADMINS=("me",), BOT_IDENTITY={})
        bootstrap.bot_config_defaults(config)
        return config

    def test_it_is_found_and_made(self) -> None:
        """The backend is found in each directory, and created with the configuration."""
        for search in ((str(FIXTURES), ()), (bootstrap.CORE_BACKENDS, [str(FIXTURES)]), ("/nowhere", str(FIXTURES))):
            manager = BackendPluginManager(self.config(), "errbot.backends", "Once", ErrBot, *search)
            self.assertEqual((manager.plugin_info.name, manager.plugin_info.module), ("Once", "once"))
            made = manager.load_plugin()
            self.assertEqual((type(made).__name__, made.prefix), ("OnceBackend", "!"))

    def test_networks_of_errklein(self) -> None:
        """errklein's own backends have `.plug` files, whose modules have their classes."""
        found = list(enumerate_backend_plugins([bootstrap.CORE_BACKENDS]))
        self.assertEqual(sorted(info.name for info in found), ["IRC", "Null", "Test", "Text"])
        for info in found:
            module = import_module(f"errklein.compat.core_backends.{info.module}")
            (name,) = (name for name in vars(module) if name.endswith("Backend"))
            self.assertEqual(name, f"{info.name}Backend")

    def test_it_is_not_there(self) -> None:
        """The error about an unknown name has the directories."""
        error = self.assertRaises(
            PluginNotFoundException, BackendPluginManager, self.config(), "x", "Nope", ErrBot, str(FIXTURES)
        )
        self.assertIn("Nope", str(error))
        self.assertIn(str(FIXTURES), str(error))

    def test_enumeration(self) -> None:
        """All valid `.plug` files in the directories are listed."""
        self.write("bad.plug", "nonsense")
        names = sorted(info.name for info in enumerate_backend_plugins([FIXTURES, self.directory]))
        self.assertEqual(names, ["Forever", "Looping", "Once"])


class StoragePluginTests(StorageCase):
    def test_place(self) -> None:
        """errklein's own storages have `.plug` files, and can be loaded by name."""
        self.assertEqual(sorted(info.name for info in enumerate_backend_plugins([CORE_STORAGE])), sorted(STORAGES))
        for name in STORAGES:
            config = self.config(STORAGE=name)
            manager = BackendPluginManager(config, "errbot.storage", name, StoragePluginBase, CORE_STORAGE)
            self.assertIs(type(manager.load_plugin()), type(get_storage_plugin(config)))
