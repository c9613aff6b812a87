"""The exports of errklein's packages, the size of modules, and the names of classes."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

import errklein
import errklein.testing
from tests.floors import errklein_itself, imports_of

LONGEST_MODULE = 800

PUBLIC = [
    "AWAY",
    "DND",
    "FLOW_END",
    "OFFLINE",
    "ONLINE",
    "BotFlow",
    "BotPlugin",
    "Command",
    "CommandError",
    "Flow",
    "FlowRoot",
    "Identifier",
    "Message",
    "Person",
    "Presence",
    "Reaction",
    "Room",
    "RoomOccupant",
    "Stream",
    "ValidationException",
    "__version__",
    "arg_botcmd",
    "botcmd",
    "botflow",
    "botmatch",
    "cmdfilter",
    "on_reactor",
    "re_botcmd",
    "recurse_check_structure",
    "webhook",
]
"""What plugins import from `errklein`."""

PUBLIC_FOR_TESTS = [
    "ADMIN",
    "LeftOver",
    "OutgoingRequest",
    "PluginTestCase",
    "Sent",
    "StubHTTP",
    "TestBot",
    "TestReactor",
    "UnexpectedRequest",
    "WebhookClient",
]
"""What plugins' tests import from `errklein.testing`."""


def exported_by(source: str) -> list[str] | None:
    """Return the literal `__all__` of a module; None if it has none."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def not_exported(source: str) -> list[str]:
    """Return the statements of an `__init__` that are neither its docstrings, imports from errklein, nor constants."""
    return [
        ast.unparse(node)
        for node in ast.parse(source).body
        if not (isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "errklein")
        and not (isinstance(node, ast.Assign) and all(name.id.isupper() for name in node.targets))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def sorted_for_all(names: list[str]) -> list[str]:
    """Return the names in ruff's order for `__all__`: constants, classes, others."""
    return sorted(
        names, key=lambda name: (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)
    )


def private_imports(module: str, source: str, is_package: bool = False) -> Iterator[str]:
    """Yield the private modules and names of other packages that a module imports."""
    for found in imports_of(source, module, is_package):
        parts = found.name.split(".")
        for place, part in enumerate(parts):
            owner = ".".join(parts[:place])
            private = part.startswith("_") and not part.endswith("__")
            if parts[0] == "errklein" and private and not f"{module}.".startswith(f"{owner}."):
                yield f"{module} imports {found.name}"


def duplicate_classes(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names that several classes have, with their modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    return {name: sorted(modules) for name, modules in places.items() if len(modules) > 1}


class PackagesTests(SynchronousTestCase):
    """The packages of errklein."""

    def setUp(self) -> None:
        """Read the packages."""
        self.sources = errklein_itself().sources
        self.packages = {name: self.sources[name] for name in errklein_itself().packages}
        self.exported = {name: exported_by(source) for name, source in self.packages.items()}
        self.assertGreater(len(self.packages), 20)

    def test_docstrings(self) -> None:
        """Each package has a docstring."""
        texts = {name: ast.get_docstring(ast.parse(source)) for name, source in self.packages.items()}
        self.assertEqual({name for name, text in texts.items() if text in (None, "", "TBD")}, set())
        self.assertEqual(len(texts), len(set(texts.values())))

    def test_sorted_all(self) -> None:
        """Each package has a sorted `__all__`, unless its `__init__` only imports names of errklein and defines constants."""
        unlisted = {name for name, exported in self.exported.items() if exported is None}
        self.assertEqual({name: others for name in unlisted if (others := not_exported(self.packages[name]))}, {})
        for name, exported in self.exported.items():
            self.assertEqual(exported or [], sorted_for_all(exported or []), name)

    def test_exported_names_exist(self) -> None:
        """All names in `__all__` can be imported."""
        for name, exported in self.exported.items():
            module = import_module(name)
            self.assertEqual([wanted for wanted in exported or () if not hasattr(module, wanted)], [], name)

    def test_private_modules(self) -> None:
        """No package imports private modules or names of another."""
        found = [
            text
            for module, source in self.sources.items()
            for text in private_imports(module, source, module in self.packages)
        ]
        self.assertEqual(found, [])

    def test_public_names(self) -> None:
        """The public names for plugins and their tests can be imported."""
        self.assertEqual(errklein.__all__, PUBLIC)
        self.assertEqual(errklein.testing.__all__, PUBLIC_FOR_TESTS)

    def test_class_names(self) -> None:
        """Names of classes are unique."""
        self.assertEqual(duplicate_classes(self.sources), {})

    def test_module_size(self) -> None:
        """No module has more than 800 lines."""
        sizes = {module: source.count("\n") for module, source in self.sources.items()}
        self.assertEqual({module: size for module, size in sizes.items() if size > LONGEST_MODULE}, {})


class BrokenOnPurposeTests(SynchronousTestCase):
    """The checks find violations."""

    def test_exports(self) -> None:
        """`__all__` is read with and without an annotation, and its order is ruff's."""
        self.assertEqual(exported_by("__all__ = ['b', 'a']"), ["b", "a"])
        self.assertEqual(exported_by("__all__: list[str] = []"), [])
        self.assertIsNone(exported_by("x = 1"))
        self.assertEqual(sorted_for_all(["a", "_b", "B", "Aa", "AB"]), ["AB", "Aa", "B", "_b", "a"])

    def test_not_exported(self) -> None:
        """An `__init__` without `__all__` must not have code, nor names from elsewhere."""
        self.assertEqual(not_exported("'x'\nfrom errklein.web import A\nB = 1\n'B.'"), [])
        for source in ("from re import match", "import errklein.web", "b = 1", "def f(): pass", "class A: pass"):
            self.assertEqual(len(not_exported(source)), 1, source)

    def test_private_import(self) -> None:
        """A private module or name of another package is found; those of the own or a parent package are allowed."""
        for source in (
            "from errklein.web import _http1",
            "from errklein.web._http1 import Parser",
            "import errklein.web._http1",
        ):
            self.assertEqual(len(list(private_imports("errklein.bot.events", source))), 1, source)
            self.assertEqual(list(private_imports("errklein.web.facade.app", source)), [])
            self.assertEqual(list(private_imports("errklein.web", source, is_package=True)), [])
        self.assertEqual(list(private_imports("errklein.bot", "from errklein._version import __version__")), [])
        self.assertEqual(len(list(private_imports("errklein.web", "from errklein.web.facade.app import _x"))), 1)

    def test_duplicate_class(self) -> None:
        """Two classes of the same name are found, also in one module."""
        sources = {"a": "class A: pass", "b": "class B:\n    class A: pass", "c": "class B: pass\nclass C: pass"}
        self.assertEqual(duplicate_classes(sources), {"A": ["a", "b"], "B": ["b", "c"]})
