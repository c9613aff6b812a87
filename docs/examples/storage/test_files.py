from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.storages import make_storage
from errklein.config import load_config
from errklein.testing.store_contract import StoreContract

HERE = Path(__file__).resolve().parent


class FilesTests(StoreContract, SynchronousTestCase):
    """The contract's tests, and one more."""

    def make_storage(self):
        """Return the storage as a bot with these settings opens it."""
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
        """Each namespace is a file, whatever its name."""
        storage = self.make_storage()
        self.addCleanup(storage.close)
        storage.open("../Greeter").set("a", 1)
        [file] = self.directory.iterdir()
        self.assertEqual(file.name, "..%2FGreeter.values")
