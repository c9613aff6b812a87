"""What a pickle names, found without importing or calling any of it."""

from __future__ import annotations

from io import BytesIO

from errklein.storage.restricted_pickling import RestrictedUnpickler


class DamagedPickle(Exception):
    """The bytes are no whole pickle, or one that is refused whatever it names; the text says why."""


def names_in(data: bytes) -> set[tuple[str, str]]:
    """The classes and functions that the pickle names, by module and name, as Python 3 calls them.

    `getattr` and `_codecs.encode` are among them only if they are called otherwise than pickle calls them. Raises
    DamagedPickle.
    """
    file = BytesIO(data)
    machine = _Recorder(file)
    try:
        machine.load()
    except Exception as error:
        raise DamagedPickle(" ".join(str(error).split()) or type(error).__name__) from error
    if file.tell() != len(data):
        raise DamagedPickle(f"{len(data) - file.tell()} bytes too many")
    return machine.names


class _Recorder(RestrictedUnpickler):
    """The machine that reads restored values, with a stand-in for whatever the pickle names."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.names: set[tuple[str, str]] = set()
        self._stand_ins: dict[tuple[str, str], type[_StandIn]] = {}

    def look_up(self, module: str, name: str) -> object:
        self.names.add((module, name))
        return self._stand_ins.setdefault((module, name), type("StandIn", (_StandIn,), {}))

    def make_bytes(self, text: str) -> object:
        return b""


class _StandIn:
    """Takes everything that pickle does to a class, or to an instance of one."""

    def __new__(cls, *args: object, **options: object) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        """Keeps nothing."""

    def __call__(self, *args: object) -> _StandIn:
        return self

    def __setstate__(self, state: object) -> None:
        """Keeps nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        """Keeps nothing."""

    def append(self, item: object) -> None:
        """Keep nothing."""

    extend = add = append
