"""`.plug` files: what they say, and one clear line for whatever is wrong."""

from __future__ import annotations

import os
from configparser import ConfigParser
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from errklein.plugins.plug_file import (
    PlugError,
    PlugFile,
    parse_errbot_version,
    parse_python_version,
    python_refusal,
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
        """What a .plug file with this text says."""
        self.write("hello.py")
        return PlugFile.load(self.write("hello.plug", text))

    def assert_problem(self, text: str, *expected: str) -> None:
        """Reading fails with one line that names the file and has all of `expected`."""
        problem = str(self.assertRaises(PlugError, self.load, text))
        for part in (str(self.directory / "hello.plug"), *expected):
            self.assertIn(part, problem)
        self.assertEqual(len(problem.splitlines()), 1)

    def test_everything(self) -> None:
        """All that errbot knows in a .plug file is read."""
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
        """What some editors put in front of UTF-8 does no harm."""
        self.assertEqual(self.load("\ufeff[Core]\nName = Hello\nModule = hello\n").name, "Hello")

    def test_keys_in_any_case(self) -> None:
        """Keys are the same in upper and lower case."""
        self.assertEqual(self.load("[Core]\nname = Hello\nMODULE = hello\ndependson = A\n").depends_on, ("A",))

    def test_relative_path(self) -> None:
        """The path is absolute, so that it stays right when a daemon changes its directory."""
        self.load(GOOD)
        plug = PlugFile.load(Path(os.path.relpath(self.directory / "hello.plug")))
        self.assertEqual(plug.path, self.directory / "hello.plug")

    def test_nothing_in_it(self) -> None:
        """An empty file is told what it needs."""
        self.assert_problem("", "no section [Core]", "Name and Module")

    def test_missing_keys(self) -> None:
        """A missing or empty key is named."""
        self.assert_problem("[Core]\nModule = hello\n", "[Core] has no Name")
        self.assert_problem("[Core]\nName = Hello\n", "[Core] has no Module")
        self.assert_problem("[Core]\nName =\nModule = hello\n", "[Core] has no Name")

    def test_name_in_two_lines(self) -> None:
        """A name is one line, for it is written into tables and logs."""
        self.assert_problem("[Core]\nName = Hello\n  World\nModule = hello\n", "[Core] Name is 'Hello\\nWorld'")

    def test_syntax(self) -> None:
        """Lines that are no INI are told by number."""
        self.assert_problem("Name = Hello\n", "line 1 precedes all sections")
        self.assert_problem("[Core]\nName = Hello\nwhatever\n", "line 3 is invalid")
        self.assert_problem("[Core]\nName = Hello\nname = Bye\n", "line 3 repeats a key")
        self.assert_problem("[Core]\nName = Hello\n[Core]\n", "line 3 repeats a section")

    def test_bad_values(self) -> None:
        """Values that can't be are quoted, with what they should be."""
        core = "[Core]\nName = Hello\nModule = hello\n"
        self.assert_problem(core + "Core = perhaps\n", "'perhaps'", "True or False")
        self.assert_problem(core + "Backend = perhaps\n", "Backend is 'perhaps'", "True or False")
        self.assert_problem(core + "[Python]\nVersion = new\n", "[Python] Version is 'new'", "3.11.2")
        self.assert_problem(core + "[Errbot]\nMin = 4\n", "[Errbot] Min is '4'", "x.y.z")
        self.assert_problem(core + "[Errbot]\nMax = 4.0.0-final\n", "[Errbot] Max is '4.0.0-final'", "x.y.z")

    def test_module_elsewhere(self) -> None:
        """A module has to lie beside the .plug file."""
        for module in ("../hello", "sub/hello", "/etc/hello", "sub\\hello"):
            self.assert_problem(f"[Core]\nName = Hello\nModule = {module}\n", "outside of the directory", "beside it")

    def test_module_with_dots(self) -> None:
        """A dotted module, or one with its suffix, is no name of a file."""
        for module in ("a.b", "hello.py", ".."):
            self.assert_problem(f"[Core]\nName = Hello\nModule = {module}\n", "without dots")

    def test_module_missing(self) -> None:
        """The file that isn't there is named; a name too long to be one changes nothing."""
        self.assert_problem("[Core]\nName = Hello\nModule = gone\n", "no file gone.py")
        self.assert_problem(f"[Core]\nName = Hello\nModule = {'x' * 5000}\n", "no file xxx")

    def test_names_of_the_bots_own(self) -> None:
        """A plugin can't have a name under which the bot itself stores what is no plugin's."""
        for name in ("core", "repomgr", "irc_backend", "text_backend", "CiscoWebexTeams_backend"):
            self.write("own.py", "from errbot import BotPlugin\nclass Own(BotPlugin):\n    pass\n")
            self.assert_problem(f"[Core]\nName = {name}\nModule = own\n", f"Name is {name!r}, which is reserved")
        for name in ("Core", "cores", "backend", "_Backend"):
            self.assertEqual(self.load(f"[Core]\nName = {name}\nModule = own\n").name, name)

    def test_names_of_others(self) -> None:
        """Networks, storages and flows may have such a name: nothing is stored under it."""
        self.write("net.py", "from errbot.core import ErrBot\nclass Net(ErrBot):\n    pass\n")
        self.assertEqual(self.load("[Core]\nName = net_backend\nModule = net\n").name, "net_backend")
        self.write("both.py", "from errbot import BotPlugin\n")
        self.assertEqual(self.load("[Core]\nName = net_backend\nModule = both\nBackend = True\n").backend, True)
        flow = self.write("core.flow", "[Core]\nName = core\nModule = both\n")
        self.assertEqual(PlugFile.load(flow).name, "core")

    def test_path_in_two_lines(self) -> None:
        """Whatever the directory is called, a problem is one line."""
        text = str(self.assertRaises(PlugError, PlugFile.load, self.write("a\n\x1bb.plug")))
        self.assertIn("a\\n\\x1bb.plug", text)

    def test_not_utf_8(self) -> None:
        """A file in another encoding is told where that begins."""
        path = self.directory / "latin.plug"
        path.write_bytes("[Core]\nName = Grüße\n".encode("latin-1"))
        self.assertIn("byte 16 is not UTF-8", str(self.assertRaises(PlugError, PlugFile.load, path)))

    def test_not_there(self) -> None:
        """A file that isn't there, or is a directory, is told so."""
        for path, reason in ((self.directory / "no.plug", "No such file"), (self.directory, "directory")):
            self.assertIn(reason, str(self.assertRaises(PlugError, PlugFile.load, path)))

    @settings(deadline=None)
    @given(st.text() | st.text(alphabet="[]Core=\n: \tNamModule\0"))
    @example("[Core]\nName=a\nModule=\0")
    @example("[a]\nkey\n  continued")
    @example("[DEFAULT]\nName=a\nModule=b\n[Core]")
    def test_any_text(self, text: str) -> None:
        """Whatever the file holds, the outcome is a plugin or one line."""
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
    """Which versions a plugin runs with."""

    def test_python(self) -> None:
        """A plugin runs on Pythons newer than the one that it names, as with errbot; "2" alone is refused."""
        for required in (None, "2+", "3", "3+", "3.11", "3.11.3", "3.11.3-rc1", "2.7.1"):
            self.assertIs(python_refusal(required, (3, 11, 4)), None, required)
        for required in ("2", "3.11.4", "3.11.4-rc1", "3.11.5", "3.12", "4"):
            self.assertIsNot(python_refusal(required, (3, 11, 4)), None, required)

    def test_python_said(self) -> None:
        """The refusal says what is needed and what there is."""
        self.assertEqual(python_refusal("3.12", (3, 11, 4)), "it requires a Python newer than 3.12, but this is 3.11.4")

    @settings(deadline=None)
    @given(st.text())
    def test_nonsense(self, text: str) -> None:
        """What is no version is refused with ValueError, nothing else."""
        for parse in (parse_errbot_version, parse_python_version):
            try:
                parse(text)
            except ValueError:
                pass
