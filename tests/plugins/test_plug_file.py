"""Tests for `.plug` files: values, one line for each error, and identifiers made of names."""

from __future__ import annotations

import keyword
import os
import re
from configparser import ConfigParser
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.plug_file import (
    PlugError,
    PlugFile,
    parse_errbot_version,
    parse_python_version,
    python_refusal,
    slug,
)
from tests.plugin_files import PluginFilesTestCase

GOOD = """
    [Core]
    Name = Hello World
    Module = hello
    DependsOn = Other , Third,
    Core = True

    [Documentation]
    Description = 100% of it: grüße!

    [Python]
    Version = 2+

    [Errbot]
    Min = 4.0.0
    Max = 9.9.9-rc1
"""


class PlugFileTests(PluginFilesTestCase):
    """Reading `.plug` files."""

    def load(self, text: str) -> PlugFile:
        """Return the values of a `.plug` file with this text."""
        self.write("hello.py")
        return PlugFile.load(self.write("hello.plug", text))

    def assert_problem(self, text: str, *expected: str) -> None:
        """Check that the error is one line with the file's name and all of `expected`."""
        problem = str(self.assertRaises(PlugError, self.load, text))
        for part in (str(self.directory / "hello.plug"), *expected):
            self.assertIn(part, problem)
        self.assertEqual(len(problem.splitlines()), 1)

    def test_everything(self) -> None:
        """All keys that errbot knows are read."""
        self.assertEqual(
            self.load(GOOD),
            PlugFile(
                name="Hello World",
                module="hello",
                path=self.directory / "hello.plug",
                depends_on=("Other", "Third"),
                description="100% of it: grüße!",
                python_version="2+",
                errbot_min="4.0.0",
                errbot_max="9.9.9-rc1",
                core=True,
            ),
        )

    def test_byte_order_mark(self) -> None:
        """A byte order mark is ignored."""
        self.assertEqual(self.load("\ufeff[Core]\nName = Hello\nModule = hello\n").name, "Hello")

    def test_keys_in_any_case(self) -> None:
        """Keys are case-insensitive."""
        self.assertEqual(self.load("[Core]\nname = Hello\nMODULE = hello\ndependson = A\n").depends_on, ("A",))

    def test_relative_path(self) -> None:
        """The path is absolute, so it stays valid when a daemon changes its directory."""
        self.load(GOOD)
        plug = PlugFile.load(Path(os.path.relpath(self.directory / "hello.plug")))
        self.assertEqual(plug.path, self.directory / "hello.plug")

    def test_nothing_in_it(self) -> None:
        """The error about an empty file names the required section."""
        self.assert_problem("", "no section [Core]", "Name and Module")

    def test_missing_keys(self) -> None:
        """A missing or empty key is named."""
        self.assert_problem("[Core]\nModule = hello\n", "[Core] has no Name")
        self.assert_problem("[Core]\nName = Hello\n", "[Core] has no Module")
        self.assert_problem("[Core]\nName =\nModule = hello\n", "[Core] has no Name")

    def test_name_in_two_lines(self) -> None:
        """A name must be one line, since tables and logs contain it."""
        self.assert_problem("[Core]\nName = Hello\n  World\nModule = hello\n", "[Core] Name is 'Hello\\nWorld'")

    def test_syntax(self) -> None:
        """The error about an invalid line contains its number."""
        self.assert_problem("Name = Hello\n", "line 1 precedes all sections")
        self.assert_problem("[Core]\nName = Hello\nwhatever\n", "line 3 is invalid")
        self.assert_problem("[Core]\nName = Hello\nname = Bye\n", "line 3 repeats a key")
        self.assert_problem("[Core]\nName = Hello\n[Core]\n", "line 3 repeats a section")

    def test_bad_values(self) -> None:
        """The error about an invalid value contains the value and the valid ones."""
        core = "[Core]\nName = Hello\nModule = hello\n"
        self.assert_problem(core + "Core = perhaps\n", "'perhaps'", "True or False")
        self.assert_problem(core + "Backend = perhaps\n", "Backend is 'perhaps'", "True or False")
        self.assert_problem(core + "[Python]\nVersion = new\n", "[Python] Version is 'new'", "3.11.2")
        self.assert_problem(core + "[Errbot]\nMin = 4\n", "[Errbot] Min is '4'", "x.y.z")
        self.assert_problem(core + "[Errbot]\nMax = 4.0.0-final\n", "[Errbot] Max is '4.0.0-final'", "x.y.z")

    def test_module_elsewhere(self) -> None:
        """A module must be beside the `.plug` file."""
        for module in ("../hello", "sub/hello", "/etc/hello", "sub\\hello"):
            self.assert_problem(f"[Core]\nName = Hello\nModule = {module}\n", "outside of the directory", "beside it")

    def test_module_with_dots(self) -> None:
        """A module name with dots, or with its suffix, is invalid."""
        for module in ("a.b", "hello.py", ".."):
            self.assert_problem(f"[Core]\nName = Hello\nModule = {module}\n", "without dots")

    def test_module_missing(self) -> None:
        """The error names the missing file, also if its name is too long."""
        self.assert_problem(
            "[Core]\nName = Hello\nModule = gone\n", "[Core] Module is 'gone', but there is no file gone.py"
        )
        self.assert_problem(f"[Core]\nName = Hello\nModule = {'x' * 5000}\n", "no file xxx")
        self.assert_problem("[Core]\nName = Hello\nModule = helo\n", "a Python file; did you mean 'hello'?")

    def test_names_of_the_bots_own(self) -> None:
        """A plugin can't have a name that is reserved for the bot's own storage."""
        for name in (
            "core",
            "repomgr",
            "room webhooks",
            "network:irc",
            "irc_backend",
            "text_backend",
            "CiscoWebexTeams_backend",
        ):
            self.write("own.py", "from errbot import BotPlugin\nclass Own(BotPlugin):\n    pass\n")
            self.assert_problem(f"[Core]\nName = {name}\nModule = own\n", f"Name is {name!r}, which is reserved")
        for name in ("Core", "cores", "backend", "_Backend"):
            self.assertEqual(self.load(f"[Core]\nName = {name}\nModule = own\n").name, name)

    def test_names_of_others(self) -> None:
        """Networks, storages and flows may have reserved names."""
        self.write("net.py", "from errbot.core import ErrBot\nclass Net(ErrBot):\n    pass\n")
        self.assertEqual(self.load("[Core]\nName = net_backend\nModule = net\n").name, "net_backend")
        self.write("both.py", "from errbot import BotPlugin\n")
        self.assertEqual(self.load("[Core]\nName = net_backend\nModule = both\nBackend = True\n").backend, True)
        flow = self.write("core.flow", "[Core]\nName = core\nModule = both\n")
        self.assertEqual(PlugFile.load(flow).name, "core")

    def test_path_in_two_lines(self) -> None:
        """The error is one line for any name of the directory."""
        text = str(self.assertRaises(PlugError, PlugFile.load, self.write("a\n\x1bb.plug")))
        self.assertIn("a\\n\\x1bb.plug", text)

    def test_not_utf_8(self) -> None:
        """The error about another encoding contains the position."""
        path = self.directory / "latin.plug"
        path.write_bytes("[Core]\nName = Grüße\n".encode("latin-1"))
        self.assertIn("byte 16 is not UTF-8", str(self.assertRaises(PlugError, PlugFile.load, path)))

    def test_not_there(self) -> None:
        """A missing file, or a directory, is an error."""
        for path, reason in ((self.directory / "no.plug", "No such file"), (self.directory, "directory")):
            self.assertIn(reason, str(self.assertRaises(PlugError, PlugFile.load, path)))

    @settings(deadline=None)
    @given(st.text() | st.text(alphabet="[]Core=\n: \tNamModule\0"))
    @example("[Core]\nName=a\nModule=\0")
    @example("[a]\nkey\n  continued")
    @example("[DEFAULT]\nName=a\nModule=b\n[Core]")
    def test_any_text(self, text: str) -> None:
        """Any text leads to a plugin or to an error in one line."""
        path = self.directory / "any.plug"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            PlugFile.load(path)
        except PlugError as error:
            self.assertEqual(len(str(error).splitlines()), 1)

    @settings(deadline=None)
    @given(st.from_regex(r"\A[^\s,#;%][^\x00-\x1f\x7f-\xa0\u2028\u2029]{0,20}\Z").filter(str.isprintable))
    def test_any_name(self, name: str) -> None:
        """A plugin may have any printable name."""
        self.write("hello.py")
        parser = ConfigParser(interpolation=None)
        parser["Core"] = {"Name": name, "Module": "hello"}
        path = self.directory / "named.plug"
        with path.open("w", encoding="utf-8") as file:
            parser.write(file)
        self.assertEqual(PlugFile.load(path).name, name.strip())


class RequirementTests(PluginFilesTestCase):
    """Required versions of Python and errbot."""

    def test_python(self) -> None:
        """A plugin runs on newer versions of Python than the one it names, as on errbot; "2" alone is rejected."""
        for required in (None, "2+", "3", "3+", "3.11", "3.11.3", "3.11.3-rc1", "2.7.1"):
            self.assertIs(python_refusal(required, (3, 11, 4)), None, required)
        for required in ("2", "3.11.4", "3.11.4-rc1", "3.11.5", "3.12", "4"):
            self.assertIsNot(python_refusal(required, (3, 11, 4)), None, required)

    def test_python_said(self) -> None:
        """The error contains the required and the running version."""
        self.assertEqual(python_refusal("3.12", (3, 11, 4)), "it requires a Python newer than 3.12, but this is 3.11.4")

    @settings(deadline=None)
    @given(st.text())
    def test_nonsense(self, text: str) -> None:
        """An invalid version raises ValueError only."""
        for parse in (parse_errbot_version, parse_python_version):
            try:
                parse(text)
            except ValueError:
                pass


NAMES = st.text(min_size=1) | st.text(alphabet="_ab2d ", min_size=1) | st.sampled_from(keyword.kwlist)


class SlugTests(SynchronousTestCase):
    """`slug`, which is part of the names in pickled objects."""

    def test_fixed(self) -> None:
        """These slugs never change, since pickled objects contain them."""
        self.assertEqual(
            {name: slug(name) for name in ("Webserver", "My Plugin", "my_plugin", "2fa", "class", "Grüße")},
            {
                "Webserver": "Webserver",
                "My Plugin": "My_20_Plugin",
                "my_plugin": "my_5f_plugin",
                "2fa": "_32_fa",
                "class": "_63_lass",
                "Grüße": "Gr_fc__df_e",
            },
        )

    @given(NAMES)
    def test_reads_back(self, name: str) -> None:
        """The name can be computed from the slug, so different names have different slugs."""
        self.assertEqual(re.sub("_([0-9a-f]+)_", lambda match: chr(int(match[1], 16)), slug(name)), name)

    @given(NAMES)
    def test_identifier(self, name: str) -> None:
        """A slug is an ASCII identifier, not a keyword, and not an attribute of modules."""
        self.assertTrue(slug(name).isidentifier() and slug(name).isascii())
        self.assertFalse(keyword.iskeyword(slug(name)) or slug(name).startswith("__"))
