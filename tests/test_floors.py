"""The floors of errklein: imports go down only, and nobody imports the reactor at module level."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein

PACKAGE = Path(errklein.__file__).parent

FLOORS = (
    ("chat", "text", "commands", "webhooks"),
    ("ports",),
    ("running",),
    ("config", "logs"),
    ("backends", "web", "storage", "journal"),
    ("dispatch", "bot", "plugins", "core_plugins", "compat", "testing", "wiring", ""),
    ("service", "bootstrap", "tap", "cli", "__main__"),
)
"""From the ground up. "" is the package errklein itself, which plugin authors import from."""

FLOOR_OF = {member: floor for floor, members in enumerate(FLOORS) for member in members}
ADAPTERS = FLOOR_OF["web"]
"""The floor whose members never import each other."""

ANYWHERE = ("_version",)
"""Import nothing; may be imported by all."""

SHARED_BY_BACKENDS = ("outbox", "base")
"""Modules of `backends` that belong to no network."""

REACTOR_LIBRARIES = ("twisted", "treq", "klein")


@dataclass(frozen=True)
class Import:
    """`module`, absolute, is imported at `line`; `eagerly` if that happens as the importing module is imported."""

    module: str
    line: int
    eagerly: bool


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Every import in `source`, the text of `module`; for `from a import b` both a and a.b, as b may be a module."""
    yield from _imports(ast.parse(source), module if is_package else module.rpartition(".")[0], eagerly=True)


def _imports(node: ast.AST, package: str, eagerly: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for name in node.names:
            yield Import(name.name, node.lineno, eagerly)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            parents = package.split(".")
            origin = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [origin])])
        for name in node.names:
            yield Import(f"{origin}.{name.name}", node.lineno, eagerly)
    elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), node.lineno, eagerly)
    elif isinstance(node, ast.Attribute) and ast.unparse(node) == "twisted.internet.reactor":
        yield Import("twisted.internet.reactor", node.lineno, eagerly)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        # Decorators, defaults and annotations are evaluated with the module; the body is not.
        body = node.body if isinstance(node.body, list) else [node.body]
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package, eagerly and child not in body)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package, eagerly)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def member_of(module: str) -> str:
    """The member of errklein that `module` belongs to: "errklein.web.site" belongs to "web"."""
    first = module.split(".")[1] if "." in module else ""
    known = first in FLOOR_OF or first in ANYWHERE
    return first if known or (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").exists() else ""


def backend_of(module: str) -> str | None:
    """The network that a module of `backends` belongs to; None for what backends share."""
    parts = module.split(".")
    if parts[1:2] != ["backends"] or len(parts) < 3:
        return None
    known = (PACKAGE / "backends" / parts[2]).is_dir() or (PACKAGE / "backends" / f"{parts[2]}.py").exists()
    return parts[2] if known and parts[2] not in SHARED_BY_BACKENDS else None


def complaint(module: str, imported: Import) -> str | None:
    """What is wrong with `module` importing that; None if it may."""
    target = imported.module
    if imported.eagerly and (target == "twisted.internet.reactor" or target.startswith("twisted.internet.reactor.")):
        return "imports the reactor at module level"
    importer = module.split(".")[1] if "." in module else ""
    floor = FLOOR_OF.get(importer)
    if floor == 0 and target.partition(".")[0] in REACTOR_LIBRARIES:
        return f"is on floor 0 and imports {target}"
    if target.partition(".")[0] != "errklein":
        return None
    wanted = member_of(target)
    if wanted in ANYWHERE:
        return None
    if importer in ANYWHERE:
        return f"may import nothing of errklein, and imports {target}"
    if floor is None:
        return f"is on no floor: {importer!r} is missing in FLOORS"
    below = FLOOR_OF.get(wanted)
    if below is None:
        return f"imports {target}, which is on no floor"
    if below > floor:
        return f"is on floor {floor} and imports {target}, which is on floor {below}"
    if below == floor == ADAPTERS:
        if importer != wanted:
            return f"is an adapter and imports another, {target}"
        ours, theirs = backend_of(module), backend_of(target)
        if theirs is not None and ours != theirs:
            return f"is of one network's backend and imports another's, {target}"
    return None


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of errklein, by name and file. What lies in templates/ is written for users and never imported."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "templates" in path.parts:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def complain(source: str, module: str) -> list[str]:
    """The complaints about `source` as the text of `module`."""
    return [text for found in imports_of(source, module) if (text := complaint(module, found))]


class FloorsTests(SynchronousTestCase):
    """errklein as it is."""

    def test_every_import_goes_down(self) -> None:
        """No module imports from a floor above it, from a sister adapter, or the reactor at module level."""
        complaints = []
        looked_at = 0
        for module, path in modules():
            looked_at += 1
            for found in imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"):
                text = complaint(module, found)
                if text is not None:
                    complaints.append(f"{path.relative_to(PACKAGE.parent)}:{found.line}: {module} {text}")
        self.assertGreater(looked_at, 10, f"no module was found under {PACKAGE}")
        self.assertEqual(complaints, [], "\n" + "\n".join(complaints))

    def test_the_reactor_can_still_be_chosen(self) -> None:
        """Nothing that twistd imports before it knows the command line's reactor installs one, even indirectly."""
        early = [name for name in ("errklein.config", "errklein.tap") if _exists(name)]
        imports = "".join(f"import {name}; " for name in ("errklein.chat", "errklein.webhooks", *early))
        code = f"import sys; {imports}sys.exit('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode, 0)


class ComplaintTests(SynchronousTestCase):
    """The check itself: it finds what it is there to find."""

    def test_an_upward_arrow(self) -> None:
        """Importing from a higher floor is refused in every spelling."""
        self.assertTrue(complain("from errklein.web import routes", "errklein.running.pool"))
        self.assertTrue(complain("import errklein.tap", "errklein.bot"))
        self.assertTrue(complain("from errklein import ports", "errklein.chat.messages"))
        self.assertTrue(complain("from ..web import routes", "errklein.running.pool"))
        self.assertTrue(complain("def f():\n    from errklein.bot import Bot", "errklein.web.site"))
        self.assertTrue(complain("if TYPE_CHECKING:\n    from errklein.bot import Bot", "errklein.web.site"))
        self.assertTrue(complain("importlib.import_module('errklein.bot')", "errklein.web.site"))
        self.assertTrue(complain("from errklein import BotPlugin", "errklein.web.site"))

    def test_a_sideways_arrow(self) -> None:
        """Adapters don't import each other, nor one network's backend another's."""
        self.assertTrue(complain("from errklein.storage import Memory", "errklein.web.site"))
        self.assertTrue(complain("from errklein.backends.irc import client", "errklein.backends.text"))
        self.assertEqual(complain("from errklein.backends.outbox import Outbox", "errklein.backends.irc.backend"), [])
        self.assertEqual(
            complain("from errklein.backends.irc.line_format import split", "errklein.backends.irc.backend"), []
        )

    def test_a_downward_arrow(self) -> None:
        """Importing from below is fine."""
        self.assertEqual(complain("from errklein.running import Runner\nimport os", "errklein.web.site"), [])
        self.assertEqual(complain("from errklein.web import WebServer", "errklein.tap"), [])
        self.assertEqual(complain("from errklein.config import Config", "errklein.backends.irc.backend"), [])
        self.assertEqual(complain("from errklein._version import __version__", "errklein.config"), [])

    def test_configuration(self) -> None:
        """Configuration knows no adapter, and what is under it doesn't know of it."""
        self.assertTrue(complain("from errklein.config import Config", "errklein.running.pool"))
        self.assertTrue(complain("from errklein.web import WebServer", "errklein.config"))
        self.assertEqual(complain("from errklein.chat import Message", "errklein.config"), [])

    def test_the_ground_floor_is_pure(self) -> None:
        """Nothing of Twisted on floor 0."""
        self.assertTrue(complain("from twisted.logger import Logger", "errklein.chat.messages"))
        self.assertTrue(complain("import treq", "errklein.text.split"))

    def test_an_unknown_floor(self) -> None:
        """A new package has to be put on a floor before it imports anything."""
        self.assertTrue(complain("from errklein import chat", "errklein.attic.boxes"))

    def test_the_reactor_at_module_level(self) -> None:
        """The reactor is refused wherever it is imported with the module, however it is spelled."""
        for source in (
            "from twisted.internet import reactor",
            "from twisted.internet import defer, reactor as r",
            "import twisted.internet.reactor",
            "from twisted.internet.reactor import callLater",
            "import twisted.internet\nclock = twisted.internet.reactor",
            "importlib.import_module('twisted.internet.reactor')",
            "__import__('twisted.internet.reactor')",
            "try:\n    from twisted.internet import reactor\nexcept ImportError:\n    pass",
            "class A:\n    from twisted.internet import reactor",
            "def f(r=__import__('twisted.internet.reactor')):\n    pass",
        ):
            self.assertTrue(complain(source, "errklein.tap"), source)
        self.assertEqual(complain("def f():\n    from twisted.internet import reactor", "errklein.tap"), [])
        self.assertEqual(complain("from twisted.internet import defer", "errklein.tap"), [])


def _exists(module: str) -> bool:
    return (PACKAGE.parent / (module.replace(".", "/") + ".py")).exists()
