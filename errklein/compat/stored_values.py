"""The values that errbot's bot stores as a mapping."""

from __future__ import annotations

from errklein.compat.backends.network import ThreadedNetwork
from errklein.dispatch import Networks
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports import Storage


class StoredValues:
    """Opens the values of each network when they are first used.

    They are in the namespace "<mode>_backend", together with what the network itself stores there.
    """

    def __init__(self, storage: Storage, networks: Networks) -> None:
        self._storage = storage
        self._networks = networks
        self._opened: dict[str, StoreMixin] = {}

    @property
    def current(self) -> StoreMixin:
        """The values of the network of the message being handled, else of the first one."""
        backend = self._networks.current
        if isinstance(backend, ThreadedNetwork):
            return backend.legacy
        namespace = f"{backend.mode}_backend"
        values = self._opened.get(namespace)
        if values is None:
            values = StoreMixin()
            values.open_storage(self._storage, namespace)
            values = self._opened.setdefault(namespace, values)
        return values
