"""Tests for loading the modules of plugins separately, reloading them, and errors in them."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
import threading
import traceback
from types import ModuleType
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import compat
from errklein.chat import Message
from errklein.plugins.imports import PluginLoadError, know_neighbours, load_module, plugin_class, unload
from errklein.plugins.plug_file import PlugFile
from tests.plugin_files import PluginFilesTestCase


class LoadTests(PluginFilesTestCase):
    """Properties of a loaded module."""

    def load(self, source: str, name: str = "Alpha", module: str = "main") -> ModuleType:
        """The module of a plugin with that source."""
        return load_module(self.plugin(name, source, module))

    def test_name(self) -> None:
        """A module's name depends on the plugin's name, and leads to the module."""
        module = self.load("name = __name__", "My Plugin", "code")
        self.assertEqual(module.name, "errklein_plugins.My_20_Plugin.code")
        self.assertIs(sys.modules[module.name], module)
        self.assertIs(importlib.import_module(module.name), module)

    def test_any_file_name(self) -> None:
        """A file may have a name that isn't an identifier, or that is a standard module's."""
        self.assertEqual(self.load("x = 1", "Beta", "my-plugin 2").x, 1)
        self.assertEqual(self.load("import json\nx = json.dumps(1)", "Gamma", "json").x, "1")

    def test_once(self) -> None:
        """A second load returns the same module; a changed file requires `fresh`."""
        plug = self.plugin("Alpha", "x = 1")
        module = load_module(plug)
        self.plugin("Alpha", "x = 2")
        self.assertIs(load_module(plug), module)
        self.assertEqual(load_module(plug, fresh=True).x, 2)

    def test_moved(self) -> None:
        """A plugin of the same name in another directory is another plugin."""
        self.assertEqual(load_module(self.plugin("Alpha", "x = 1", folder="one")).x, 1)
        self.assertEqual(load_module(self.plugin("Alpha", "x = 2", folder="two")).x, 2)

    def test_no_bytecode(self) -> None:
        """Two versions of a file within one second are distinguished, and no bytecode is written."""
        self.patch(sys, "dont_write_bytecode", False)
        for version in range(3):
            plug = self.plugin("Alpha", f"x = {version}")
            self.assertEqual(load_module(plug, fresh=True).x, version)
        self.assertFalse((self.directory / "alpha/__pycache__").exists())

    def test_package_file_is_not_run(self) -> None:
        """An __init__.py beside a plugin isn't run, as in errbot."""
        self.write("alpha/__init__.py", "raise RuntimeError('not here')")
        self.assertEqual(self.load("x = 1").x, 1)

    def test_annotations(self) -> None:
        """Annotations are evaluated unless the author postpones them."""
        self.assertEqual(self.load("def f(x: int): pass").f.__annotations__, {"x": int})

    def test_pickle(self) -> None:
        """Instances of a plugin's and its helpers' classes can be pickled, also after a reload."""
        self.write("alpha/helper.py", "class Point:\n    x = 1\n")
        source = "from helper import Point\nclass Note:\n    x = 2\n"
        module = self.load(source)
        data = pickle.dumps([module.Note(), module.Point()])
        fresh = load_module(self.plugin("Alpha", source), fresh=True)
        note, point = pickle.loads(data)
        self.assertIs(type(note), fresh.Note)
        self.assertIs(type(point), fresh.Point)

    def test_source(self) -> None:
        """The source of a function is the original one."""
        source = "def handler():\n    import helper, json\n    return helper\n"
        self.write("alpha/helper.py")
        self.assertEqual(inspect.getsource(self.load(source).handler), source)

    def test_traceback(self) -> None:
        """A traceback shows the original lines."""
        self.write("alpha/helper.py", "\n\ndef fail():\n    1 / 0\n")
        module = self.load("import helper, json\nfrom errbot import BotPlugin\n\ndef run():\n    helper.fail()\n")
        error = self.assertRaises(ZeroDivisionError, module.run)
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        self.assertEqual([(frame.lineno, frame.line) for frame in frames], [(5, "helper.fail()"), (4, "1 / 0")])

    def test_patched_by_name(self) -> None:
        """Tests can patch a plugin's names by the module's name."""
        module = self.load("value = 1\ndef read():\n    return value\n")
        with mock.patch("errklein_plugins.Alpha.main.value", 2):
            self.assertEqual(module.read(), 2)

    def test_encoding(self) -> None:
        """A file may declare its encoding, as Python allows."""
        plug = self.plugin("Alpha", "")
        plug.module_path.write_bytes("# -*- coding: latin-1 -*-\nx = 'ü'\n".encode("latin-1"))
        self.assertEqual(load_module(plug).x, "ü")

    def test_unload(self) -> None:
        """An unloaded plugin leaves no module, and can be loaded again."""
        self.write("alpha/helper.py")
        plug = self.plugin("Alpha", "import helper")
        unload(plug)
        load_module(plug)
        unload(plug)
        self.assertEqual([name for name in sys.modules if name.startswith("errklein_plugins.Alpha")], [])
        self.assertRaises(ModuleNotFoundError, importlib.import_module, "errklein_plugins.Alpha.main")
        self.assertTrue(load_module(plug).helper)


class HelperTests(PluginFilesTestCase):
    """Modules beside a plugin, imported by their bare names."""

    def test_every_form(self) -> None:
        """Each way to import a helper works: bare, renamed, from, star, dotted, relative, late, and from each other."""
        self.write("alpha/helper.py", "value = 'helper'\nimport main\n")
        self.write("alpha/pkg/__init__.py", "from . import sub\nfrom helper import value as borrowed\n")
        self.write("alpha/pkg/sub.py", "value = 'sub'\n")
        self.write("alpha/stars.py", "one, _two = 1, 2\n")
        self.write("alpha/space/part.py", "value = 'part'\n")
        module = load_module(
            self.plugin(
                "Alpha",
                """
                import helper
                import helper as h
                import pkg.sub
                import pkg.sub as ps
                import space.part
                from helper import value
                from pkg import sub as s
                from stars import *
                from . import helper as relative
                from .pkg.sub import value as sub_value

                def late():
                    import pkg.sub
                    return pkg.sub.value
                """,
            )
        )
        self.assertIs(module.helper, module.h)
        self.assertIs(module.helper, module.relative)
        self.assertIs(module.helper.main, module)
        self.assertIs(module.pkg.sub, module.ps)
        self.assertIs(module.pkg.sub, module.s)
        self.assertEqual(module.pkg.borrowed, "helper")
        self.assertEqual((module.value, module.sub_value, module.late(), module.one), ("helper", "sub", "sub", 1))
        self.assertEqual(module.space.part.value, "part")
        self.assertFalse(hasattr(module, "_two"))

    def test_own_copies(self) -> None:
        """Two plugins with helpers of one name have their own; two in one directory have separate copies."""
        self.write("one/helper.py", "value = 'one'")
        self.write("two/helper.py", "value = 'two'")
        source = "import helper"
        alpha = load_module(self.plugin("Alpha", source, folder="one"))
        beta = load_module(self.plugin("Beta", source, folder="two"))
        gamma = load_module(self.plugin("Gamma", source, module="other", folder="one"))
        self.assertEqual([module.helper.value for module in (alpha, beta, gamma)], ["one", "two", "one"])
        self.assertIsNot(alpha.helper, gamma.helper)
        self.assertNotIn("helper", sys.modules)

    def test_late_import_after_others(self) -> None:
        """An import inside a function finds the plugin's own helper, regardless of later loads."""
        self.write("one/helper.py", "value = 'one'")
        self.write("two/helper.py", "value = 'two'")
        alpha = load_module(
            self.plugin("Alpha", "def late():\n    import helper\n    return helper.value", folder="one")
        )
        load_module(self.plugin("Beta", "import helper", folder="two"))
        self.assertEqual(alpha.late(), "one")

    def test_standard_library(self) -> None:
        """A file with the name of a standard module doesn't replace it, as in errbot."""
        self.write("alpha/json.py", "raise RuntimeError('not this one')")
        self.write("alpha/queue.py", "raise RuntimeError('not this one')")
        module = load_module(self.plugin("Alpha", "import json\nfrom queue import Queue"))
        self.assertIs(module.json, sys.modules["json"])

    def test_installed(self) -> None:
        """A helper precedes an installed package of that name, for this plugin only."""
        self.write("site/installed_too.py", "value = 'installed'")
        self.patch(sys, "path", [*sys.path, str(self.directory / "site")])
        self.addCleanup(sys.modules.pop, "installed_too", None)
        self.write("alpha/installed_too.py", "value = 'helper'")
        alpha = load_module(self.plugin("Alpha", "import installed_too"))
        beta = load_module(self.plugin("Beta", "import installed_too"))
        self.assertEqual([module.installed_too.value for module in (alpha, beta)], ["helper", "installed"])

    def test_namesake(self) -> None:
        """A plugin, or a helper, with the name of the library that it imports gets the library."""
        self.write("site/libraryx.py", "value = 'library x'")
        self.write("site/libraryy.py", "value = 'library y'")
        self.patch(sys, "path", [*sys.path, str(self.directory / "site")])
        self.addCleanup(sys.modules.pop, "libraryx", None)
        self.addCleanup(sys.modules.pop, "libraryy", None)
        self.write("alpha/libraryy.py", "import libraryy as wrapped\nfrom libraryx import value\n")
        plug = self.plugin("Alpha", "from libraryx import value\nimport libraryy as wrapper", module="libraryx")
        for turn in ("first", "again, with both in sys.modules"):
            module = load_module(plug, fresh=True)
            self.assertEqual(module.value, "library x", turn)
            self.assertEqual((module.wrapper.value, module.wrapper.wrapped.value), ("library x", "library y"), turn)

    def test_on_the_path_too(self) -> None:
        """A plugin's directory on sys.path, such as config.py's, changes nothing."""
        self.write("alpha/on_path.py", "import on_path\nvalue = 1")
        self.patch(sys, "path", [str(self.directory / "alpha"), *sys.path])
        self.addCleanup(sys.modules.pop, "path_main", None)
        self.addCleanup(sys.modules.pop, "on_path", None)
        plug = self.plugin("Alpha", "import on_path, path_main", module="path_main")
        for turn in ("first", "again, with a test having imported the plugin by itself"):
            module = load_module(plug, fresh=True)
            self.assertIs(module.path_main, module, turn)
            self.assertIs(module.on_path.on_path, module.on_path, turn)
            self.assertIsNot(module.on_path, sys.modules.get("on_path"), turn)
            importlib.import_module("path_main")

    def test_vendored_package(self) -> None:
        """A package beside the plugin that imports itself gets itself, installed or not."""
        self.write("site/vendored/__init__.py", "value = 'installed'")
        self.patch(sys, "path", [*sys.path, str(self.directory / "site")])
        self.write("alpha/vendored/__init__.py", "from vendored.part import value")
        self.write("alpha/vendored/part.py", "value = 'beside'")
        self.assertEqual(load_module(self.plugin("Alpha", "import vendored")).vendored.value, "beside")

    def test_mere_directory(self) -> None:
        """A directory of data with the name of an installed package doesn't replace it."""
        self.write("alpha/hypothesis/data.txt")
        module = load_module(self.plugin("Alpha", "from hypothesis import given"))
        self.assertIs(module.given, sys.modules["hypothesis"].given)

    def test_missing(self) -> None:
        """The error about a missing helper has its bare name."""
        error = self.assertRaises(PluginLoadError, load_module, self.plugin("Alpha", "import nowhere_at_all"))
        self.assertIn("No module named 'nowhere_at_all'", str(error))


class NeighbourTests(PluginFilesTestCase):
    """Modules beside other plugins."""

    def setUp(self) -> None:
        """Write the files of another plugin."""
        super().setUp()
        self.write("other/nb_shared.py", "import nb_pkg\nvalue = 'shared' + nb_pkg.value")
        self.write("other/nb_pkg/__init__.py", "value = 'pkg'")
        self.write("other/json.py", "raise RuntimeError('not this one')")
        self.write("other/klein.py", "raise RuntimeError('nor this one')")
        self.write("third/nb_shared.py", "raise RuntimeError('the first directory wins')")
        know_neighbours([self.directory / "other", self.directory / "third", self.directory / "none"])
        self.addCleanup(know_neighbours, [])

    def test_what_is_nowhere_else(self) -> None:
        """A plugin may import a module beside another plugin, and has its own copy; installed modules precede it."""
        module = load_module(self.plugin("Alpha", "import json, klein, nb_shared\nfrom nb_pkg import value\n"))
        self.assertEqual((module.nb_shared.value, module.value), ("sharedpkg", "pkg"))
        self.assertIs(module.json, sys.modules["json"])
        self.assertNotIn("nb_shared", sys.modules)
        beta = load_module(self.plugin("Beta", "import nb_shared"))
        self.assertIsNot(beta.nb_shared, module.nb_shared)

    def test_own_files_first(self) -> None:
        """Files beside the plugin itself precede those of other plugins."""
        self.write("alpha/nb_shared.py", "value = 'own'")
        self.assertEqual(load_module(self.plugin("Alpha", "import nb_shared")).nb_shared.value, "own")

    def test_what_is_gone(self) -> None:
        """The import of a removed neighbour fails as any missing module."""
        (self.directory / "other" / "nb_shared.py").unlink()
        error = self.assertRaises(PluginLoadError, load_module, self.plugin("Alpha", "import nb_shared"))
        self.assertIn("No module named 'nb_shared'", str(error))


class ComputedNameTests(PluginFilesTestCase):
    """Imports by a computed name."""

    def loaded(self, source: str, name: str = "Alpha") -> ModuleType:
        """Return the module of a plugin with a helper and a package beside it."""
        self.write(f"{name.lower()}/cn_helper.py", "value = 'beside'")
        self.write(f"{name.lower()}/cn_pkg/__init__.py", "")
        self.write(f"{name.lower()}/cn_pkg/part.py", "value = 'part'")
        return load_module(self.plugin(name, source))

    def test_import_module(self) -> None:
        """importlib.import_module finds the same modules as an import statement, however importlib was imported."""
        statements = (
            "import importlib",
            "import importlib.util, importlib",
            "import importlib as importlib",
            "from importlib import import_module, util\nclass importlib: import_module = staticmethod(import_module)",
        )
        for number, statement in enumerate(statements):
            module = self.loaded(
                f"{statement}\nhelper = importlib.import_module('cn_helper')\n"
                "part = importlib.import_module('cn_pkg.part')\n"
                "errbot = importlib.import_module('errbot.backends.base')\njson = importlib.import_module('json')\n",
                f"Alpha{number}",
            )
            self.assertEqual((module.helper.value, module.part.value), ("beside", "part"), statement)
            self.assertIs(module.errbot.Message, Message)
            self.assertIs(module.json, sys.modules["json"])

    def test_dunder_import(self) -> None:
        """__import__ finds the same modules, and returns the top-level package of a dotted name."""
        module = self.loaded(
            "helper = __import__('cn_helper')\npkg = __import__('cn_pkg.part')\n"
            "part = __import__('cn_pkg.part', fromlist=['value'])\npath = __import__('os.path')\n"
            "base = __import__('errbot.backends.base')\n"
        )
        self.assertEqual((module.helper.value, module.pkg.part.value, module.part.value), ("beside", "part", "part"))
        self.assertIs(module.path, sys.modules["os"])
        self.assertIs(module.base.Message, Message)

    def test_importlib_is_itself_otherwise(self) -> None:
        """Everything else in importlib is unchanged."""
        module = self.loaded(
            "import importlib, importlib.util\nfrom importlib import reload\nimport importlib.machinery as machinery\n"
            "util, found = importlib.util, importlib.util.find_spec('json')\n"
        )
        self.assertIs(module.util, sys.modules["importlib.util"])
        self.assertIs(module.machinery, sys.modules["importlib.machinery"])
        self.assertIs(module.reload, sys.modules["importlib"].reload)
        self.assertNotIn("cn_helper", sys.modules)

    def test_submodules_of_importlib(self) -> None:
        """They are imported by the statement that names them, which fails if there is none."""
        module = self.loaded("import importlib.resources.readers\nreaders = importlib.resources.readers\n")
        self.assertIs(module.readers, sys.modules["importlib.resources.readers"])
        self.assertRaises(PluginLoadError, self.loaded, "import importlib.nothing\n", "Beta")


class FacadeTests(PluginFilesTestCase):
    """`errbot` and `flask` in plugins."""

    def test_errbot(self) -> None:
        """errbot's names are errklein's, whether or not errbot is installed, in plugins only."""
        real = ModuleType("errbot")
        with mock.patch.dict(sys.modules, {"errbot": real}):
            module = load_module(
                self.plugin(
                    "Alpha",
                    """
                    import errbot.backends.base
                    from errbot.backends.base import Message
                    from errbot import ONLINE, backends
                    """,
                )
            )
            self.assertIs(sys.modules["errbot"], real)
        self.assertIs(module.Message, Message)
        self.assertIs(module.errbot.backends.base.Message, Message)
        self.assertIs(module.backends, module.errbot.backends)
        self.assertEqual(module.ONLINE, "online")

    def test_flask(self) -> None:
        """flask is errklein's in a plugin and its helpers, and the real one elsewhere."""
        real, ours = ModuleType("flask"), ModuleType("errklein.compat.flask")
        vars(ours).update(abort="ours")
        self.write("alpha/helper.py", "import flask")
        self.write("site/uses_flask.py", "import flask")
        self.patch(sys, "path", [*sys.path, str(self.directory / "site")])
        self.addCleanup(sys.modules.pop, "uses_flask", None)
        self.enterContext(mock.patch.object(compat, "flask", ours, create=True))
        with mock.patch.dict(sys.modules, {"flask": real, "errklein.compat.flask": ours}):
            module = load_module(self.plugin("Alpha", "from flask import abort\nimport helper, uses_flask"))
        self.assertEqual(module.abort, "ours")
        self.assertIs(module.uses_flask.flask, real)
        self.assertEqual(module.helper.flask.abort, "ours")

    def test_file_of_that_name(self) -> None:
        """A file errbot.py beside the plugin replaces nothing."""
        self.write("alpha/errbot.py", "raise RuntimeError('not this one')")
        self.assertIs(load_module(self.plugin("Alpha", "from errbot import Message")).Message, Message)

    def test_missing_name(self) -> None:
        """The error about a missing name has errbot's name and the plugin's line."""
        plug = self.plugin("Alpha", "import json\nfrom errbot import Message, teleporter\n")
        error = self.assertRaises(PluginLoadError, load_module, plug)
        self.assertEqual(
            str(error),
            f"Alpha could not be loaded: {plug.module_path}, line 2: "
            "ModuleNotFoundError: errklein doesn't have errbot.teleporter",
        )


class ReloadTests(PluginFilesTestCase):
    """Reloads that succeed and fail."""

    def version(self, number: int, main: str = "import helper, pkg.sub\n") -> PlugFile:
        """Write version VERSION of the plugin, its helper and its package."""
        self.write("alpha/helper.py", f"version = {number}")
        self.write("alpha/pkg/__init__.py")
        self.write("alpha/pkg/sub.py", f"version = {number}")
        return self.plugin("Alpha", f"version = {number}\n{main}")

    def test_all_of_it(self) -> None:
        """A reload runs the plugin, its helpers and packages again; old modules keep their values."""
        old = load_module(self.version(1))
        new = load_module(self.version(2), fresh=True)
        self.assertEqual([old.version, old.helper.version, old.pkg.sub.version], [1, 1, 1])
        self.assertEqual([new.version, new.helper.version, new.pkg.sub.version], [2, 2, 2])

    def test_new_helper(self) -> None:
        """After a reload, a new helper is found, and a removed one isn't."""
        load_module(self.version(1))
        self.write("alpha/newcomer.py", "version = 2")
        module = load_module(self.version(2, "import newcomer\n"), fresh=True)
        self.assertEqual(module.newcomer.version, 2)
        (self.directory / "alpha/newcomer.py").unlink()
        self.assertRaises(PluginLoadError, load_module, self.version(3, "import newcomer\n"), fresh=True)

    def test_import_under_way(self) -> None:
        """An import statement that runs during a reload finds the helper in the new package."""
        load_module(self.version(1))
        load_module(self.version(2, ""), fresh=True)
        package = sys.modules["errklein_plugins.Alpha"]
        self.assertEqual(package.helper.version, 2)
        self.assertFalse(hasattr(package, "nowhere"))

    def test_failing(self) -> None:
        """A failed reload leaves the old modules, including helpers, in place."""
        plug = self.version(1)
        old = load_module(plug)
        failing = self.version(2, "import helper, pkg.sub\nimport newcomer\n1 / 0\n")
        self.write("alpha/newcomer.py")
        self.assertRaises(PluginLoadError, load_module, failing, fresh=True)
        self.assertIs(load_module(plug), old)
        self.assertIs(sys.modules["errklein_plugins.Alpha.helper"], old.helper)
        self.assertIs(importlib.import_module("errklein_plugins.Alpha.pkg.sub"), old.pkg.sub)
        self.assertNotIn("errklein_plugins.Alpha.newcomer", sys.modules)

    def test_failing_at_first(self) -> None:
        """A plugin that never loaded leaves no modules."""
        self.assertRaises(PluginLoadError, load_module, self.version(1, "import helper\n1 / 0\n"))
        self.assertEqual([name for name in sys.modules if name.startswith("errklein_plugins.Alpha")], [])

    def test_failing_elsewhere(self) -> None:
        """A failing plugin of the same name in another directory doesn't affect the first."""
        self.write("one/helper.py", "value = 'one'")
        self.write("two/helper.py", "value = 'two'")
        plug = self.plugin("Alpha", "def late():\n    import helper\n    return helper.value", folder="one")
        module = load_module(plug)
        self.assertRaises(PluginLoadError, load_module, self.plugin("Alpha", "import helper, gone", folder="two"))
        self.assertEqual(module.late(), "one")
        self.assertIs(load_module(plug), module)


class LoadErrorTests(PluginFilesTestCase):
    """Errors about code that can't be loaded."""

    def problem(self, source: str, **helpers: str) -> str:
        """Return the error about a plugin with that source, without its constant parts."""
        for name, text in helpers.items():
            self.write(f"alpha/{name}.py", text)
        message = str(self.assertRaises(PluginLoadError, load_module, self.plugin("Alpha", source)))
        self.assertEqual(len(message.splitlines()), 1)
        beginning = f"Alpha could not be loaded: {self.directory}/alpha/"
        self.assertTrue(message.startswith(beginning), message)
        return message.removeprefix(beginning)

    def test_exception(self) -> None:
        """The error is one line with the file, line and exception."""
        self.assertEqual(self.problem("\n\nraise ValueError('a\\nb')"), "main.py, line 3: ValueError: a b")

    def test_inside_a_library(self) -> None:
        """The line is the plugin's own, not the library's that it called."""
        self.assertIn("main.py, line 2: json", self.problem("import json\njson.loads('{')\n"))

    def test_in_a_helper(self) -> None:
        """An error in a helper has the helper's line and names without the package."""
        self.assertEqual(
            self.problem("import helper", helper="\n1 / 0"), "helper.py, line 2: ZeroDivisionError: division by zero"
        )
        self.assertIn("cannot import name 'gone' from 'helper'", self.problem("from helper import gone", helper=""))

    def test_syntax(self) -> None:
        """A syntax error has its own line."""
        self.assertEqual(self.problem("x = 1\ndef f(:\n"), "main.py, line 2: SyntaxError: invalid syntax")
        self.assertIn("helper.py, line 1: SyntaxError", self.problem("import helper", helper="x ="))
        self.assertIn("main.py, line 1: SyntaxError", self.problem("return 1"))

    def test_not_text(self) -> None:
        """Bytes that aren't source code are an error in one line."""
        plug = self.plugin("Alpha", "")
        for data in (b"x = '\xff'", b"x = 1\0"):
            plug.module_path.write_bytes(data)
            self.assertIn("could not be loaded", str(self.assertRaises(PluginLoadError, load_module, plug)))

    def test_exit(self) -> None:
        """A plugin that exits, or raises any exception, doesn't end the bot."""
        self.assertEqual(self.problem("import sys\nsys.exit(3)"), "main.py, line 2: SystemExit: 3")
        self.assertIn("GeneratorExit", self.problem("raise GeneratorExit"))

    def test_keyboard(self) -> None:
        """Ctrl-C during an import reaches the main thread; in another thread it is an error of the plugin."""
        plug = self.plugin("Alpha", "raise KeyboardInterrupt")
        self.assertRaises(KeyboardInterrupt, load_module, plug)
        raised: list[BaseException] = []

        def load() -> None:
            try:
                load_module(plug)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        self.assertEqual([type(error) for error in raised], [PluginLoadError])

    def test_error_that_cannot_be_printed(self) -> None:
        """An exception whose text raises an exception is reported too."""
        source = "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd"
        self.assertIn("main.py, line 4: ", self.problem(source))

    def test_long(self) -> None:
        """A long error is shortened to one readable line."""
        self.assertLess(len(self.problem("raise ValueError('x' * 100000)")), 700)

    def test_file_gone(self) -> None:
        """A file that was removed after the `.plug` file was read is an error."""
        plug = self.plugin("Alpha", "")
        plug.module_path.unlink()
        self.assertIn(str(plug.module_path), str(self.assertRaises(PluginLoadError, load_module, plug)))


class ThreadTests(PluginFilesTestCase):
    """Loading in threads."""

    def test_many_at_once(self) -> None:
        """Several threads load plugins at once, also the same one, and all modules are complete."""
        plugs = []
        for number in range(4):
            self.write(f"p{number}/helper.py", f"value = {number}")
            plugs.append(self.plugin(f"P{number}", "import time, helper\ntime.sleep(0)\nvalue = helper.value"))
        seen: list[tuple[int, int]] = []

        def load(number: int) -> None:
            for _ in range(20):
                seen.append((number, load_module(plugs[number], fresh=True).value))

        threads = [threading.Thread(target=load, args=(number,)) for number in (*range(4), *range(4))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(seen), sorted((number, number) for number in range(4) for _ in range(40)))


class Base:
    """A replacement for BotPlugin."""


class PluginClassTests(SynchronousTestCase):
    """The choice of a plugin's class."""

    def module(self, source: str) -> ModuleType:
        """Return a module with that source, which imports Base and its subclass Imported."""
        module = ModuleType("chosen_from")
        module.__file__ = "/plugins/chosen.py"
        vars(module).update(Base=Base, Imported=type("Imported", (Base,), {"__module__": "elsewhere"}))
        exec(source, vars(module))
        return module

    def test_one(self) -> None:
        """The module's own subclass is chosen, without a warning."""
        module = self.module("class Zed(Imported): pass\nclass Another: pass\nimport json")
        self.assertEqual(plugin_class(module, Base), (module.Zed, None))

    def test_two_names(self) -> None:
        """A class with two names counts once."""
        module = self.module("class Zed(Base): pass\nAlias = Zed")
        self.assertEqual(plugin_class(module, Base), (module.Zed, None))

    def test_more(self) -> None:
        """The alphabetically first of several is chosen, as in errbot, with a warning that lists all."""
        module = self.module("class Zed(Base): pass\nclass Able(Base): pass")
        chosen, warning = plugin_class(module, Base)
        self.assertIs(chosen, module.Able)
        self.assertEqual(warning, "/plugins/chosen.py: Contains more than one plugin (Able, Zed); Able is used")

    def test_by_name(self) -> None:
        """The class with the plugin's name is chosen from several, without a warning."""
        module = self.module("class Zed(Base): pass\nclass Able(Base): pass")
        self.assertEqual(plugin_class(module, Base, "Zed"), (module.Zed, None))
        chosen, warning = plugin_class(module, Base, "Other")
        self.assertIs(chosen, module.Able)
        self.assertIn("Contains more than one plugin", warning or "")

    def test_none(self) -> None:
        """A module without a subclass is an error."""
        module = self.module("del Imported")
        error = self.assertRaises(PluginLoadError, plugin_class, module, Base)
        self.assertEqual(str(error), "/plugins/chosen.py: no subclass of Base found")
        error = self.assertRaises(PluginLoadError, plugin_class, self.module("del Imported\nclass Lone: pass"), Base)
        self.assertIn("; write `class Lone(Base):` instead of `class Lone`", str(error))
