"""The bot as a mapping whose items outlive the process, as plugins find errbot's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from errklein.bot.sending import Speaking
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports import Storage


class Keeping(Speaking):
    """`bot["key"]`: the values that belong to the network of the message being handled, else to the first one.

    They are in the namespace "<mode>_backend", together with what the network itself keeps there.
    """

    storage: Storage

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept: dict[str, StoreMixin] = {}

    @property
    def kept(self) -> StoreMixin:
        """The values, opened when they are first asked for."""
        legacy = getattr(self.backend, "legacy", None)
        if isinstance(legacy, StoreMixin):
            return legacy
        namespace = f"{self.backend.mode}_backend"
        kept = self._kept.get(namespace)
        if kept is None:
            kept = StoreMixin()
            kept.open_storage(self.storage, namespace)
            kept = self._kept.setdefault(namespace, kept)
        return kept

    @property
    def storage_plugin(self) -> Storage:
        """The storage, by errbot's name for it: what `open_storage` takes."""
        return self.storage

    def __getitem__(self, key: str) -> Any:
        return self.kept[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def __delitem__(self, key: str) -> None:
        del self.kept[key]

    def __contains__(self, key: object) -> bool:
        return key in self.kept

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)


# All else of a mapping the bot has from `kept`.
StoreMixin.register(Keeping)
