"""Tests for rewritten imports: the same bindings at the same lines."""

from __future__ import annotations

import ast
import sys
import traceback
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.imports import rewrite_imports
from tests.plugin_files import PluginFilesTestCase

HOME = "rewriting_home.inner"
REDIRECTED = ("rw_helper", "rw_pkg", "rw_space")
"""Modules that are there twice: on sys.path, as the author sees them, and in HOME."""


def redirect(name: str) -> str | None:
    """Return the redirected name of the test's modules."""
    return f"{HOME}.{name}" if name in REDIRECTED else None


def rewritten(source: str) -> str:
    """Return the source with its imports rewritten."""
    tree = ast.parse(source)
    rewrite_imports(tree, redirect)
    return ast.unparse(tree)


MODULES = ["rw_helper", "rw_pkg", "rw_pkg.sub", "rw_pkg.sub.deep", "rw_space.part", "os.path", "json", "xml.dom"]
ALIASES = st.tuples(st.sampled_from([*MODULES, "rw_gone", "rw_pkg.gone"]), st.sampled_from(["", " as renamed"]))
PLAIN = st.lists(ALIASES.map("".join), min_size=1, max_size=3).map(lambda names: "import " + ", ".join(names))
FROM = st.sampled_from(
    [
        "from rw_helper import value",
        "from rw_helper import value as other, function",
        "from rw_helper import *",
        "from rw_helper import gone",
        "from rw_pkg import sub, value",
        "from rw_pkg import *",
        "from rw_pkg.sub import deep as renamed",
        "from rw_pkg.sub.deep import value",
        "from rw_space import part",
        "from json import dumps",
        "from os import path as renamed, sep",
    ]
)
WITHOUT_STAR = FROM.filter(lambda statement: "*" not in statement)
BLOCKS = st.sampled_from(
    [
        "{}",
        "if True:\n    {}",
        "if False:\n    pass\nelif True:\n    {}",
        "try:\n    {}\nexcept ImportError as error:\n    failed = True",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}\nfinally:\n    pass",
        "for turn in range(2):\n    {}",
        "while True:\n    {}\n    break",
        "with open('/dev/null') as file:\n    {}",
        "match 1:\n    case 1:\n        {}",
        "def run():\n    {}\n    return dict(locals())\nlocal = run()",
        "class Inside:\n    {}",
    ]
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Generate a few lines of code with imports of every form."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        block = draw(BLOCKS)
        # A star may stand only at the top level of a module.
        has_scope = block.startswith(("def", "class"))
        pieces.append(block.format(draw(PLAIN | (WITHOUT_STAR if has_scope else FROM))))
    return "\n".join(pieces)


class SameBindingsTests(PluginFilesTestCase):
    """The names that a program binds, before and after rewriting."""

    def setUp(self) -> None:
        """Write the modules in two places, each with its place as a value."""
        super().setUp()
        for place in ("plain", f"home/{HOME.replace('.', '/')}"):
            self.write(f"{place}/rw_helper.py", "value = 'helper'\n_hidden = 1\ndef function(): pass\n")
            self.write(f"{place}/rw_pkg/__init__.py", "value = 'pkg'\n__all__ = ['value', 'sub']\n")
            self.write(f"{place}/rw_pkg/sub/__init__.py", "from . import deep\n")
            self.write(f"{place}/rw_pkg/sub/deep.py", "value = 'deep'\n")
            self.write(f"{place}/rw_space/part.py")
        self.write("home/rewriting_home/__init__.py")
        self.patch(sys, "path", [*sys.path, str(self.directory / "plain"), str(self.directory / "home")])
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Remove the modules, so that they are imported again."""
        for name in list(sys.modules):
            if name.partition(".")[0] in (*REDIRECTED, HOME.partition(".")[0]):
                del sys.modules[name]

    def run_program(self, source: str) -> dict[str, Any]:
        """Run the program with nothing imported, and describe the names that it binds."""
        self.forget()
        namespace: dict[str, Any] = {"__name__": "program"}
        error = None
        try:
            exec(source, namespace)
        except ImportError as raised:
            error = type(raised)
        del namespace["__builtins__"]
        return {"error": error, **{name: described(value) for name, value in namespace.items()}}

    @given(programs())
    def test_same(self, program: str) -> None:
        """Names, their modules and values, and errors are the same."""
        self.assertEqual(self.run_program(rewritten(program)), self.run_program(program), program)

    @given(programs())
    def test_elsewhere(self, program: str) -> None:
        """The modules are the redirected ones, and no others."""
        self.run_program(rewritten(program))
        self.assertEqual([name for name in sys.modules if name.partition(".")[0] in REDIRECTED], [])


def described(value: object) -> object:
    """Return a value without the place of its module."""
    if isinstance(value, ModuleType):
        return ("module", value.__name__.removeprefix(f"{HOME}."))
    if isinstance(value, dict):
        return {name: described(inner) for name, inner in value.items()}
    if isinstance(value, type):
        names = {name: inner for name, inner in vars(value).items() if not name.startswith("__")}
        return (value.__name__, described(names))
    if callable(value):
        return value.__name__
    return type(value) if hasattr(value, "close") or isinstance(value, BaseException) else value


class PlacesTests(SynchronousTestCase):
    """Parts of the source that rewriting doesn't change."""

    def test_untouched(self) -> None:
        """Imports of other modules, relative imports, and names with the same beginning stay unchanged."""
        source = "import json, os.path as p\nfrom . import rw_helper\nfrom .rw_helper import x\nimport rw_helper2.a"
        expected = (
            "import json\nimport os.path as p\nfrom . import rw_helper\nfrom .rw_helper import x\nimport rw_helper2.a"
        )
        self.assertEqual(rewritten(source), expected)

    def test_future(self) -> None:
        """A module may begin with its docstring and imports from __future__."""
        source = '"""Doc."""\nfrom __future__ import annotations\nimport rw_helper\nx: Unknown = 1'
        tree = ast.parse(source)
        rewrite_imports(tree, lambda name: "json" if name == "rw_helper" else None)
        namespace: dict[str, Any] = {}
        exec(compile(tree, "future.py", "exec", dont_inherit=True), namespace)
        self.assertEqual((namespace["__doc__"], namespace["__annotations__"]), ("Doc.", {"x": "Unknown"}))

    def test_lines(self) -> None:
        """A traceback shows the line and columns of the original statement."""
        source = "x = 1\nif x:\n    import rw_helper.gone, json; y = 2\n1 / 0\n"
        tree = ast.parse(source)
        rewrite_imports(tree, lambda name: "rw_nowhere" if name == "rw_helper" else None)
        code = compile(tree, "lines.py", "exec")
        error = self.assertRaises(ModuleNotFoundError, exec, code, {})
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "lines.py"]
        end = 4 + len("import rw_helper.gone, json")
        self.assertEqual([(frame.lineno, frame.colno, frame.end_colno) for frame in frames], [(3, 4, end)])
        places = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Import | ast.alias)}
        self.assertEqual(places, {3})

    def test_deep(self) -> None:
        """Deeply nested code, such as long chains of elif, works."""
        source = "if 0: pass\n" + "elif 0: pass\n" * 200 + "else:\n    import rw_helper\n" + "x = " + "1+" * 500 + "1\n"
        tree = ast.parse(source)
        rewrite_imports(tree, redirect)
        self.assertIn(f"{HOME}.rw_helper", [node.name for node in ast.walk(tree) if isinstance(node, ast.alias)])
