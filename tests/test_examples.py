"""The tests of the examples."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.config import load_config

ROOT = Path(errklein.__file__).parent.parent
EXAMPLES = (ROOT / "examples", ROOT / "docs" / "examples")


def load(path: Path) -> ModuleType:
    """The module in the file, under a name of its own."""
    name = "_".join(path.relative_to(ROOT).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    # It may import a module beside it.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def modules_with_tests() -> Iterator[Path]:
    """The examples' tests."""
    for examples in EXAMPLES:
        yield from sorted(examples.rglob("test_*.py"))


def cases(path: Path) -> dict[str, type[SynchronousTestCase]]:
    """The test cases in the file, by names that don't clash with others, as if this module had them: `trial -j` asks."""
    module = load(path)
    return {
        f"{module.__name__}_{name}": type(f"{module.__name__}_{name}", (value,), {"__module__": __name__})
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, SynchronousTestCase)
    }


# trial runs what it finds in this module.
for _path in modules_with_tests():
    globals().update(cases(_path))


class ExampleTests(SynchronousTestCase):
    """Each example is complete."""

    def test_every_plugin_has_tests(self) -> None:
        """Beside each .plug file there are tests, with test methods that say what they show."""
        plugs = [plug for examples in EXAMPLES for plug in examples.rglob("*.plug")]
        self.assertGreaterEqual(len(plugs), 4)
        for plug in plugs:
            methods = [
                node
                for path in plug.parent.glob("test_*.py")
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            ]
            self.assertTrue(methods, f"{plug} has no tests")
            for method in methods:
                self.assertIsNotNone(ast.get_docstring(method), f"{plug.parent.name}: {method.name}")

    def test_configurations_can_be_used(self) -> None:
        """Each configuration that the documentation shows is one."""
        shown = sorted((ROOT / "docs" / "examples").glob("config*.py"))
        self.assertTrue(shown)
        for path in shown:
            self.assertTrue(load_config(path).networks, path)


class DocumentationTests(SynchronousTestCase):
    """The documentation is complete."""

    def test_settings_are_listed(self) -> None:
        """The documentation has each setting that is errklein's own."""
        guide = "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
        for setting in (
            "NETWORKS",
            "STATUS",
            "WEB",
            "WEBHOOK_TIMEOUT",
            "WEBHOOK_POOLSIZE",
            "WEBHOOK_QUEUE",
            "WEBHOOK_QUEUE_WAIT",
            "WEBHOOK_MAX_BODY",
            "WEBHOOK_BASE_PATH",
            "TRUSTED_PROXIES",
            "PUBLIC_URL",
            "WEBHOOK_MAX_CONNECTIONS",
            "WEBHOOK_MAX_CONNECTIONS_PER_CLIENT",
            "WEBHOOK_BODY_MEMORY",
            "GRACE_PERIOD",
            "OUTBOX_LIMIT",
        ):
            self.assertIn(f"`{setting}`", guide)
