"""The floors of errklein and the check of imports. `test_floors` applies it, and `test_exports` uses its reader."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import errklein

PACKAGE = Path(errklein.__file__).parent

FLOORS = (
    ("__main__",),
    ("tap", "cli"),
    ("testing", "bootstrap"),
    ("service",),
    ("wiring",),
    ("compat",),
    ("core_plugins", "status", "console"),
    ("bot",),
    ("plugins",),
    ("dispatch",),
    ("postgres",),
    ("networks", "web", "journal", "storage"),
    ("http_client", "database", "listening"),
    ("config", "logs"),
    ("running",),
    ("ports", "sources"),
    ("commands", "webhooks"),
    ("verify",),
    ("chat", "text"),
)
"""From the top. Members of one floor don't import each other."""

FLOOR_OF = {member: number for number, floor in enumerate(reversed(FLOORS)) for member in floor}
ROOT = len(FLOORS)
"""Above all: the package errklein itself, which plugin authors import from."""

OPTIONAL = {"status", "console", "postgres"}
"""The packages that can be deleted."""

ANYWHERE = "_version"
"""The module that all may import, and that imports nothing."""

LOOSE_MODULES = {
    "logs.py",
    "status.py",
    "tap.py",
    "wiring.py",
    "bootstrap.py",
    "__main__.py",
    "_version.py",
    "__init__.py",
}
"""The only modules outside the packages."""

PURE = ("chat", "commands", "sources", "text", "verify", "webhooks")
"""Packages without Twisted and what is built on it."""

REACTOR_LIBRARIES = ("twisted", "treq", "klein")

SHARED_BY_NETWORKS = ("base", "context", "errors", "directory", "json_client", "outbox")
"""Modules of `networks` that belong to no network, besides those whose names begin with an underscore."""

IMPORTING_CALLS = ("__import__", "import_module", "namedAny", "namedModule", "resolve_name")

MENTION_OF_COMPAT = re.compile(r"\berrklein\.compat\b|(?<![\w.])compat\.[a-z]|`compat`")
IMPORT_STATEMENT = re.compile(r"^ *(from|import) .*$", re.MULTILINE)


@dataclass(frozen=True)
class Import:
    """An import of the absolute name `name`, which is a module or a name in one.

    `eagerly` is true if it is executed when the importing module is imported.
    """

    name: str
    eagerly: bool


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield every import in `source`, the text of `module`, wherever it is and in every spelling."""
    yield from _imports(ast.parse(source), module if is_package else module.rpartition(".")[0], eagerly=True)


def _imports(node: ast.AST, package: str, eagerly: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, eagerly) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            parents = package.split(".")
            origin = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [origin])])
        yield from (Import(f"{origin}.{alias.name}", eagerly) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and _called(node) in IMPORTING_CALLS:
        yield from (Import(name, eagerly) for name in _text_of(node.args[0]))
    elif isinstance(node, ast.Attribute) and ast.unparse(node) == "twisted.internet.reactor":
        yield Import("twisted.internet.reactor", eagerly)
    # A function's decorators, defaults and annotations are evaluated with the module; the body is not.
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    body = [node.body] if isinstance(node, ast.Lambda) else node.body if is_function else []
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, eagerly and child not in body)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text_of(argument: ast.expr) -> Iterator[str]:
    """Return the text of a literal; for an f-string, the text before its first value."""
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else argument
    if isinstance(first, ast.Constant):
        yield str(first.value).rstrip(".")


def package_of(module: str) -> str:
    """Return the member of errklein that contains `module`: "web" for "errklein.web.site", and "" for errklein itself."""
    return module.split(".")[1] if "." in module else ""


def network_of(module: str) -> str | None:
    """Return the network that a module of `networks` belongs to; None for modules that networks share."""
    parts = module.split(".")
    if parts[1:2] != ["networks"] or len(parts) < 3 or parts[2] in SHARED_BY_NETWORKS or parts[2].startswith("_"):
        return None
    return parts[2]


def short(module: str) -> str:
    """Return the name of a module within errklein."""
    return module.removeprefix("errklein.")


class Tree:
    """The modules of errklein by name, and the violations in their imports."""

    def __init__(self, sources: Mapping[str, str], packages: Iterable[str] = ()) -> None:
        self.sources = sources
        self.packages = frozenset(packages)
        self.imports = {
            module: {
                Import(self.module_of(found.name), found.eagerly)
                for found in imports_of(source, module, module in self.packages)
            }
            for module, source in sources.items()
        }

    def module_of(self, name: str) -> str:
        """Return the known module that contains a name: "errklein.web" for "errklein.web.WebServer"."""
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
        return next((prefix for prefix in prefixes if prefix in self.sources), name)

    def violations(self) -> Iterator[str]:
        """Yield the violations of each module."""
        for module, source in self.sources.items():
            found = {text for one in self.imports[module] if (text := violation(module, one)) is not None}
            above_compat = FLOOR_OF.get(package_of(module), ROOT) >= FLOOR_OF["compat"]
            if not above_compat and MENTION_OF_COMPAT.search(IMPORT_STATEMENT.sub("", source)):
                found.add("mentions compat")
            yield from (f"{short(module)} {text}" for text in sorted(found))

    def cycle_of_modules(self) -> list[str]:
        """Return modules of several packages that import each other in a cycle."""
        graph = {
            module: {one.name for one in self.imports[module] if one.name in self.sources} for module in self.sources
        }
        # Circles within a package are its own affair: its modules count as one where they import each other.
        for circle in _circles(graph):
            if len({package_of(module) for module in circle}) > 1:
                return sorted(circle)
        return []

    def cycle_of_packages(self) -> list[str]:
        """Return packages that import each other in a cycle."""
        graph: dict[str, set[str]] = {}
        for module in self.sources:
            wanted = graph.setdefault(package_of(module), set())
            for one in self.imports[module]:
                if one.name.startswith("errklein."):
                    wanted.add(package_of(one.name))
            wanted.discard(package_of(module))
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            return [str(package) for package in error.args[1]]
        return []


def violation(module: str, imported: Import) -> str | None:
    """Return a message if `module` must not import the name, else None."""
    target = imported.name
    importer, wanted = package_of(module), package_of(target)
    if imported.eagerly and f"{target}.".startswith("twisted.internet.reactor."):
        return "imports the reactor at module level"
    if importer in PURE and target.partition(".")[0] in REACTOR_LIBRARIES:
        return f"has to be pure and imports {target}"
    if target.partition(".")[0] != "errklein" or (wanted == ANYWHERE != importer):
        return None
    if importer != "" and importer not in FLOOR_OF:
        return f"is on no floor and imports {short(target)}"
    if wanted not in FLOOR_OF:
        return "imports names of errklein itself"
    floor, below = FLOOR_OF.get(importer, ROOT), FLOOR_OF[wanted]
    if below > floor:
        return f"imports from above: {short(target)}"
    if below == floor and importer != wanted:
        return f"imports from its own floor: {short(target)}"
    theirs = network_of(target)
    if importer == "networks" and theirs is not None and network_of(module) != theirs:
        return f"imports a network that it isn't of: {short(target)}"
    return None


def _circles(graph: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Yield the sets of nodes that can reach each other."""
    reached = {node: _reachable(graph, node) for node in graph}
    for node in graph:
        circle = {other for other in reached[node] if node in reached[other]}
        if len(circle) > 1:
            yield circle


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for node in graph[waiting.pop()] - reached:
            reached.add(node)
            waiting.append(node)
    return reached


def misplaced(entries: Iterable[str]) -> list[str]:
    """Return the entries of errklein/ that are neither on a floor nor allowed as loose modules."""
    allowed = (
        LOOSE_MODULES
        | {"examples", "py.typed", "__pycache__"}
        | {member for member in FLOOR_OF if member + ".py" not in LOOSE_MODULES}
    )
    return sorted(set(entries) - allowed)


def stale(entries: Iterable[str]) -> list[str]:
    """Return the members of the list of floors that don't exist in errklein/, apart from optional ones."""
    return sorted(set(FLOOR_OF) - OPTIONAL - {entry.removesuffix(".py") for entry in entries})


def floors_in_table(page: str) -> tuple[tuple[str, ...], ...]:
    """Return the floors in docs/design.md: the code in the first column of the table under "## Floors"."""
    section = page.partition("\n## Floors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return tuple(tuple(re.findall(r"`(\w+)`", row)) for row in rows)


def floors_in_block(page: str) -> tuple[tuple[str, ...], ...]:
    """Return the floors in CONTRIBUTING.md: the lines of the text block under "## Floors"."""
    block = page.partition("\n## Floors\n")[2].partition("```text\n")[2].partition("\n```")[0]
    return tuple(tuple(line.split()) for line in block.splitlines())


@cache
def errklein_itself() -> Tree:
    """Return the modules of errklein, without templates/, which is written for users and never imported."""
    sources, packages = {}, []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "templates" in path.relative_to(PACKAGE).parts:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
        packages += [name] if parts[-1] == "__init__" else []
    return Tree(sources, packages)
