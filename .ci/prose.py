"""Check the docstrings and names of errklein against the rules in CONTRIBUTING.md.

The docstring of a module states its content: it doesn't begin with "What", "Who", "How" or "TBD". Modules, classes and
public functions have the field's standard names, not the terms that errklein used before. Prints one line for each
violation, with the file and the line, and exits with 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = (
    "errklein",
    "errklein_pytest.py",
    "twisted/plugins",
    "tests",
    "benchmarks",
    "examples",
    ".ci",
    "docs",
    "setup.py",
)

CLAUSE = re.compile(r"(?:What|Who|Whom|Whose|How|TBD)\b")

STANDARD_TERMS = {
    "answering": "dispatch",
    "doubt": "warning",
    "doubts": "warnings",
    "hearing": "events",
    "keeping": "storage",
    "lives": "lifecycle",
    "notyet": "TimedOut",
    "one_by_one": "serial queue",
    "patience": "timeout",
    "probe": "endpoint check",
    "said": "text",
    "speaking": "sending",
    "tally": "in-flight counter",
    "telling": "callbacks",
    "told": "text",
    "turns": "time slices",
    "whom": "recipient",
}
"""Terms that errklein used before, and the standard ones."""


def words(name: str) -> str:
    """Return a name in snake_case with underscores around it, so that whole words can be found."""
    return f"_{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}_".replace("_not_yet_", "_notyet_")


def name_violations(name: str) -> Iterator[str]:
    """Yield a message for each replaced term in the name of a module, class or function."""
    for term, standard in STANDARD_TERMS.items():
        if f"_{term}_" in words(name):
            yield f"the name {name} contains {term!r}; the standard term is {standard!r}"


def violations(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the message of each violation in a module."""
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    if docstring is not None and CLAUSE.match(docstring):
        yield 1, f"the docstring begins with {docstring.split()[0]!r}; state the content of the module"
    for message in name_violations(path.stem):
        yield 1, message
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            is_public = isinstance(node, ast.ClassDef) or not node.name.startswith(("_", "test_"))
            for message in name_violations(node.name) if is_public else ():
                yield node.lineno, message


def modules() -> Iterator[Path]:
    """Yield the modules that are checked."""
    for place in PLACES:
        path = ROOT / place
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        yield from (module for module in found if "fixtures" not in module.parts)


def main() -> None:
    """Check all modules."""
    failed = False
    for path in modules():
        for line, message in violations(path, path.read_text("utf-8")):
            failed = True
            print(f"{path.relative_to(ROOT)}:{line}: {message}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
