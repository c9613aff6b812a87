"""The names of classes and functions in a pickle, found without importing or calling any of them."""

from __future__ import annotations

from io import BytesIO

from errklein.storage.restricted_pickling import RestrictedUnpickler
from errklein.text.errors import one_line


class DamagedPickle(Exception):
    """The bytes are not a complete pickle, or use an opcode that is always refused; str() is the reason."""


def names_in(data: bytes) -> set[tuple[str, str]]:
    """The classes and functions that the pickle names, as pairs of module and name, with the names of Python 3.

    `getattr` and `_codecs.encode` are included only if the pickle calls them in a way that the pickle module doesn't. Raises
    DamagedPickle.
    """
    file = BytesIO(data)
    machine = _Recorder(file)
    try:
        machine.load()
    except Exception as error:
        raise DamagedPickle(one_line(error)) from error
    if file.tell() != len(data):
        raise DamagedPickle(f"{len(data) - file.tell()} bytes after its end")
    return machine.names


class _Recorder(RestrictedUnpickler):
    """The unpickler of restored values, with stand-ins for all classes and functions."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.names: set[tuple[str, str]] = set()
        self._stand_ins: dict[tuple[str, str], type[_StandIn]] = {}

    def look_up(self, module: str, name: str) -> object:
        self.names.add((module, name))
        return self._stand_ins.setdefault((module, name), type("StandIn", (_StandIn,), {}))


class _StandIn:
    """Accepts every operation of the unpickler on a class or instance, and stores nothing."""

    def __new__(cls, *args: object, **options: object) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        """Ignore the arguments."""

    def __call__(self, *args: object) -> _StandIn:
        return self

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore the item."""

    def append(self, item: object) -> None:
        """Ignore the item."""

    extend = add = append
