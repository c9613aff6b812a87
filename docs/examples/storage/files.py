"""A storage with one file for each namespace.

Settings: STORAGE_CONFIG = {"directory": "/somewhere"}.
"""

import pickle
from pathlib import Path
from urllib.parse import quote

from errbot.storage.base import StorageBase, StoragePluginBase


class FileOfValues(StorageBase):
    """The values of one namespace, as a pickled dict."""

    def __init__(self, path):
        self.path = path

    def get(self, key):
        return self.read()[key]

    def set(self, key, value):
        self.write({**self.read(), key: value})

    def remove(self, key):
        values = self.read()
        del values[key]
        self.write(values)

    def keys(self):
        return self.read().keys()

    def len(self):
        return len(self.read())

    def close(self):
        pass

    def read(self):
        return pickle.loads(self.path.read_bytes()) if self.path.exists() else {}

    def write(self, values):
        new = self.path.with_suffix(".new")
        new.write_bytes(pickle.dumps(values))
        new.replace(self.path)


class Files(StoragePluginBase):
    """Opens namespaces."""

    def open(self, namespace):
        directory = Path(self._storage_config["directory"])
        # A namespace may contain characters that a file name can't.
        return FileOfValues(directory / f"{quote(namespace, safe='')}.values")
