"""Tests of the storage: `trial test_files.py` where this file is."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.storages import make_storage
from errklein.config import load_config
from errklein.testing.store_contract import StoreContract

HERE = Path(__file__).resolve().parent


class FilesTests(StoreContract, SynchronousTestCase):
    """What every storage has to do, and what only this one does."""

    def make_storage(self):
        """The storage as a bot with this configuration has it."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        settings = {
            "BACKEND": "Null",
            "STORAGE": "Files",
            "STORAGE_CONFIG": {"directory": str(self.directory)},
            "BOT_EXTRA_STORAGE_PLUGINS_DIR": str(HERE),
        }
        return make_storage(load_config(None, settings))

    def test_a_file_for_each_namespace(self):
        """A namespace is a file, whatever it is called."""
        storage = self.make_storage()
        self.addCleanup(storage.close)
        storage.open("../Greeter").set("a", 1)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["..%2FGreeter.values"])
