"""Functions and classes that block: they wait for the network, a process, a disk or a person."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from errklein.running._bytecode import Imported, Name

BLOCKING: Mapping[str, str] = {
    "builtins": "input",
    "concurrent.futures": "as_completed wait",
    "ftplib": "FTP FTP_TLS",
    "http.client": "HTTPConnection HTTPSConnection",
    "httpx": "Client delete get head options patch post put request stream",
    "imaplib": "IMAP4 IMAP4_SSL IMAP4_stream",
    "os": "popen system wait waitpid",
    "poplib": "POP3 POP3_SSL",
    "select": "poll select",
    "smtplib": "LMTP SMTP SMTP_SSL",
    "socket": "create_connection getaddrinfo getfqdn gethostbyaddr gethostbyname gethostbyname_ex socket",
    "sqlite3": "connect",
    "subprocess": "Popen call check_call check_output getoutput getstatusoutput run",
    "time": "sleep",
    "urllib.request": "build_opener urlopen urlretrieve",
    "xmlrpc.client": "ServerProxy",
}
"""Names that block, by module."""

BLOCKING_LIBRARIES = frozenset({"paramiko", "psycopg2", "pymysql", "requests", "urllib3"})
"""Packages whose functions and classes all count as blocking, except exceptions."""

_BLOCKING_NAMES = [(module, name) for module, names in BLOCKING.items() for name in names.split()]
_BLOCKING_PATHS = frozenset(map(".".join, _BLOCKING_NAMES))


def first_blocking(names: Iterable[Name]) -> tuple[str, int] | None:
    """Return the dotted name and line number of the first name that blocks, under any alias; None if none does."""
    known = _known()
    for name in names:
        path = None if name.is_import else _path_of(name, known)
        if path is not None:
            return path, name.line
    return None


def _known() -> dict[int, str]:
    """Return the blocking objects of the imported modules by `id`, so that aliases are found."""
    known = {}
    for module, name in _BLOCKING_NAMES:
        value = getattr(sys.modules.get(module), name, None)
        if value is not None:
            known[id(value)] = name if module == "builtins" else f"{module}.{name}"
    return known


def _path_of(name: Name, known: Mapping[int, str]) -> str | None:
    value: Any = name.value
    if isinstance(value, Imported):
        library, _, last = value.path.partition(".")
        is_of_library = library in BLOCKING_LIBRARIES and last != "" and not _is_exception(last)
        return value.path if value.path in _BLOCKING_PATHS or is_of_library else None
    if value is None:
        return None
    if id(value) in known:
        return known[id(value)]
    library = str(getattr(value, "__module__", "")).partition(".")[0]
    is_exception = isinstance(value, type) and issubclass(value, BaseException)
    if library not in BLOCKING_LIBRARIES or not callable(value) or is_exception:
        return None
    return f"{library}.{getattr(value, '__name__', name.text)}"


def _is_exception(path: str) -> bool:
    """Return whether a path in a library that isn't imported looks like an exception, or a module of exceptions."""
    return path.startswith("exceptions") or path.endswith(("Error", "Exception", "Timeout", "Warning"))
