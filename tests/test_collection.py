"""trial finds every test module, class and method."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]


FIXTURES = "fixtures"


class CollectionTests(SynchronousTestCase):
    """Tests that trial would ignore silently."""

    def test_every_folder_is_a_package(self) -> None:
        """Each folder with test modules is a package, like all its parents."""
        modules = list(test_modules())
        self.assertGreater(len(modules), 1)
        for module in modules:
            for folder in [module.parent, *module.parents]:
                if folder == ROOT:
                    break
                self.assertTrue((folder / "__init__.py").exists(), f"{folder} is no package: {module} isn't run")

    def test_every_test_is_collected(self) -> None:
        """No test method is named just `test`, and no test or class is hidden by another of the same name."""
        for module in test_modules():
            cases = [case.name for case in classes(module) if case.name.endswith("Tests")]
            self.assertEqual(sorted(cases), sorted(set(cases)), module)
            for case in classes(module):
                names = [function.name for function in functions(case)]
                self.assertNotIn("test", names, f"{module}: {case.name}.test isn't collected")
                tests = [name for name in names if name.startswith("test")]
                self.assertEqual(sorted(tests), sorted(set(tests)), f"{module}: {case.name}")

    def test_every_test_says_what_it_shows(self) -> None:
        """Each test method has a docstring."""
        silent = [
            f"{module.relative_to(ROOT)}: {case.name}.{function.name}"
            for module in test_modules()
            for case in classes(module)
            for function in functions(case)
            if function.name.startswith("test_") and ast.get_docstring(function) is None
        ]
        self.assertEqual(silent, [])


def test_modules() -> Iterator[Path]:
    """Yield every test module."""
    for folder in ("tests", "long_tests"):
        for path in sorted((ROOT / folder).rglob("test_*.py")):
            if FIXTURES not in path.parts:
                yield path


@cache
def classes(module: Path) -> tuple[ast.ClassDef, ...]:
    """Return the classes of a module, without those inside of tests."""
    return tuple(outside_of_functions(ast.parse(module.read_text(encoding="utf-8"))))


def outside_of_functions(node: ast.AST) -> Iterator[ast.ClassDef]:
    """Yield the classes that aren't inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            yield from outside_of_functions(child)


def functions(case: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the methods of a class."""
    for node in case.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
