"""Pickles that would execute code. Each creates a file, and lists the names that it uses."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hostile:
    """A pickle, and the names in it that must be refused."""

    what: str
    data: bytes
    names: frozenset[str]


def hostile_pickles(ran: Path) -> Iterator[Hostile]:
    """Yield pickles that would create the file `ran`, by different known techniques."""
    command = f"touch {ran}"
    code = f"open({str(ran)!r}, 'w')"
    yield _hostile("os.system by GLOBAL", f"cos\nsystem\n(V{command}\ntR.", "os.system")
    yield _hostile("posix.system", f"cposix\nsystem\n(V{command}\ntR.", "posix.system")
    yield _hostile("Python 2's name of eval", f"\x80\x02c__builtin__\neval\n(V{code}\ntR.", "builtins.eval")
    yield _hostile("exec by INST", f"(V{code}\nibuiltins\nexec\n.", "builtins.exec")
    yield _hostile("eval by OBJ", f"(cbuiltins\neval\nV{code}\no.", "builtins.eval")
    yield _hostile("a name put together", f"\x80\x04\x8c\x02os\x94h\x00\x8c\x06system\x93(V{command}\ntR.", "os.system")
    yield _hostile("subprocess", f"csubprocess\ncall\n((lVtouch\naV{ran}\natR.", "subprocess.call")
    yield _hostile("Python 2's commands", f"\x80\x02ccommands\ngetoutput\n(V{command}\ntR.", "subprocess.getoutput")
    yield _hostile("pty.spawn", f"cpty\nspawn\n((lVtouch\naV{ran}\natR.", "pty.spawn")
    yield _hostile("importlib", "cimportlib\nimport_module\n(Vantigravity\ntR.", "importlib.import_module")
    yield _hostile("runpy", f"crunpy\nrun_path\n(V{ran}\ntR.", "runpy.run_path")
    yield _hostile(
        "getattr to a function's globals",
        "cbuiltins\ngetattr\n(cre\n_compile\nV__globals__\ntR.",
        "re._compile.__globals__",
    )
    yield _hostile(
        "getattr that is no time zone's",
        "cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nV_weak_cache\ntR.",
        "zoneinfo.ZoneInfo._weak_cache",
    )
    yield _hostile("getattr of a value", "cbuiltins\ngetattr\n(cbuiltins\nlist\n(tRV__class__\ntR.", "builtins.getattr")
    yield _hostile("a module of a class", "\x80\x04\x8c\x08datetime\x8c\x0bsys.modules\x93.", "datetime.sys.modules")
    yield _hostile("operator", "coperator\nattrgetter\n(V__globals__\ntR.", "operator.attrgetter")
    yield _hostile("partial", f"cfunctools\npartial\n(cos\nsystem\nV{command}\ntR.", "functools.partial", "os.system")
    yield _hostile("another codec", "c_codecs\nencode\n(Vab\nVrot13\ntR.", "_codecs.encode")
    yield _hostile("codecs.decode", "ccodecs\ndecode\n(Vab\nVrot13\ntR.", "codecs.decode")
    yield _hostile("an attribute of errklein", f"cerrklein.cli\nsys.exit\n(V{command}\ntR.", "errklein.cli.sys.exit")
    yield _hostile(
        "os through errklein",
        f"\x80\x04\x8c\x20errklein.service._data_directory\x8c\x09os.system\x93(V{command}\ntR.",
        "errklein.service._data_directory.os.system",
    )
    yield _hostile(
        "errklein's own loader", "cerrklein.storage.pickling\nloads\n(VA\ntR.", "errklein.storage.pickling.loads"
    )
    yield _hostile(
        "os through the names of plugins' classes",
        f"cerrklein.storage.pickling\nplugin_global\n(Vos\nVsystem\ntR(V{command}\ntR.",
        "os.system",
    )
    yield _hostile("through errbot's name", f"cerrbot\nlogging.os.system\n(V{command}\ntR.", "errbot.logging.os.system")
    yield _hostile("a new class", "cbuiltins\ntype\n(VA\n)}tR.", "builtins.type")

    class Reducing:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (command,)

    yield Hostile("__reduce__", pickle.dumps({"a": [Reducing()]}), frozenset({"posix.system"}))
    inner = pickle.dumps(Reducing())
    yield Hostile(
        "a pickle in a pickle",
        b"\x80\x04cpickle\nloads\n(B" + len(inner).to_bytes(4, "little") + inner + b"tR.",
        frozenset({"pickle.loads"}),
    )


def _hostile(what: str, text: str, *names: str) -> Hostile:
    return Hostile(what, text.encode("latin-1"), frozenset(names))
