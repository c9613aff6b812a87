"""Rewritten import statements bind what the author's would have bound, at the line where they stand."""

from __future__ import annotations

import ast
import sys
import traceback
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins._import_rewriting import rewrite_imports
from tests.plugin_files import PluginFilesTestCase

HOME = "rewriting_home.inner"
REDIRECTED = ("rw_helper", "rw_pkg", "rw_space")
"""Modules that are there twice: on sys.path, as the author sees them, and in HOME."""


def redirect(name: str) -> str | None:
    """Where the test's modules lead."""
    return f"{HOME}.{name}" if name in REDIRECTED else None


def rewritten(source: str) -> str:
    """The source with its imports rewritten."""
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
    """Some lines of code with imports of every form."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        block = draw(BLOCKS)
        # A star may stand only at the top level of a module.
        has_scope = block.startswith(("def", "class"))
        pieces.append(block.format(draw(PLAIN | (WITHOUT_STAR if has_scope else FROM))))
    return "\n".join(pieces)


class SameBindingsTests(PluginFilesTestCase):
    """What a program binds, before and after."""

    def setUp(self) -> None:
        """Write the modules twice, once each with its place as a value."""
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
        """Let the modules be imported anew."""
        for name in list(sys.modules):
            if name.partition(".")[0] in (*REDIRECTED, HOME.partition(".")[0]):
                del sys.modules[name]

    def run_program(self, source: str) -> dict[str, Any]:
        """Run it with nothing imported yet, and describe what it leaves bound."""
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
        """Names, and the modules and values behind them, are the same; errors too, and what was bound before them."""
        self.assertEqual(self.run_program(rewritten(program)), self.run_program(program), program)

    @given(programs())
    def test_elsewhere(self, program: str) -> None:
        """And yet the modules are the redirected ones, and only those."""
        self.run_program(rewritten(program))
        self.assertEqual([name for name in sys.modules if name.partition(".")[0] in REDIRECTED], [])


def described(value: object) -> object:
    """A value without the place that its module has."""
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
    """What rewriting leaves alone."""

    def test_untouched(self) -> None:
        """Other modules' imports, relative ones, and names that only begin the same way stay as they are."""
        source = "import json, os.path as p\nfrom . import rw_helper\nfrom .rw_helper import x\nimport rw_helper2.a"
        expected = (
            "import json\nimport os.path as p\nfrom . import rw_helper\nfrom .rw_helper import x\nimport rw_helper2.a"
        )
        self.assertEqual(rewritten(source), expected)

    def test_future(self) -> None:
        """A module may still begin with its docstring and its imports from __future__."""
        source = '"""Doc."""\nfrom __future__ import annotations\nimport rw_helper\nx: Unknown = 1'
        tree = ast.parse(source)
        rewrite_imports(tree, lambda name: "json" if name == "rw_helper" else None)
        namespace: dict[str, Any] = {}
        exec(compile(tree, "future.py", "exec", dont_inherit=True), namespace)
        self.assertEqual((namespace["__doc__"], namespace["__annotations__"]), ("Doc.", {"x": "Unknown"}))

    def test_lines(self) -> None:
        """A traceback shows the line and the columns of the author's statement."""
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
        """Code that nests deeply, as long chains of elif do, is no trouble."""
        source = "if 0: pass\n" + "elif 0: pass\n" * 200 + "else:\n    import rw_helper\n" + "x = " + "1+" * 500 + "1\n"
        tree = ast.parse(source)
        rewrite_imports(tree, redirect)
        self.assertIn(f"{HOME}.rw_helper", [node.name for node in ast.walk(tree) if isinstance(node, ast.alias)])
