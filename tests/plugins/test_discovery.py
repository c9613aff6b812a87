"""Tests for finding `.plug` files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from errno import EACCES
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

from errklein.config import load_config
from errklein.plugins.discovery import directory_warnings, entry_point_roots, find_plug_files
from errklein.testing import TestBot
from tests.plugin_files import PluginFilesTestCase


class FindPlugFilesTests(PluginFilesTestCase):
    """The search for `.plug` files."""

    def names(self, *roots: str | Path) -> list[str]:
        """Return the files found, relative to the test's directory."""
        return [str(path.relative_to(self.directory)) for path in find_plug_files(roots)]

    def test_below(self) -> None:
        """Files at any depth are found, outer ones first, then sorted; other files aren't."""
        for path in ("b.plug", "a/z.plug", "a/b/c.plug", "c/d.plug", "c/d.py", "e.flow", "plug"):
            self.write(path)
        self.assertEqual(self.names(self.directory), ["b.plug", "a/z.plug", "a/b/c.plug", "c/d.plug"])

    def test_passed_over(self) -> None:
        """Hidden directories and caches are ignored; a root may be hidden."""
        self.write(".git/a.plug")
        self.write("__pycache__/a.plug")
        self.write("b.plug")
        self.assertEqual(self.names(self.directory), ["b.plug"])
        self.assertEqual(self.names(self.directory / ".git"), [".git/a.plug"])

    def test_neither_pipes_nor_devices(self) -> None:
        """Pipes and devices are ignored."""
        os.mkfifo(self.directory / "pipe.plug")
        (self.directory / "zeros.plug").symlink_to("/dev/zero")
        self.write("b.plug")
        self.assertEqual(self.names(self.directory), ["b.plug"])

    def test_order_of_roots(self) -> None:
        """Roots keep their order, which decides between two plugins of one name."""
        self.write("one/a.plug")
        self.write("two/a.plug")
        self.assertEqual(self.names(self.directory / "two", self.directory / "one"), ["two/a.plug", "one/a.plug"])

    def test_once(self) -> None:
        """A file is found once, even if several paths lead to it."""
        self.write("one/a.plug")
        (self.directory / "again").symlink_to(self.directory / "one")
        (self.directory / "one/b.plug").symlink_to(self.directory / "one/a.plug")
        roots = (self.directory / "one", self.directory, self.directory / "one")
        self.assertEqual(self.names(*roots), ["one/a.plug"])

    def test_links_followed(self) -> None:
        """Symbolic links to directories are followed, and circles end."""
        self.write("real/a.plug")
        self.write("root/here.plug")
        (self.directory / "root/linked").symlink_to(self.directory / "real")
        (self.directory / "root/round").symlink_to(self.directory / "root")
        listed = []
        iterdir = Path.iterdir
        self.patch(Path, "iterdir", lambda path: listed.append(path.name) or iterdir(path))
        self.assertEqual(self.names(self.directory / "root"), ["root/here.plug", "root/linked/a.plug"])
        self.assertEqual(listed, ["root", "linked"])

    def test_depth(self) -> None:
        """Directories that are nested too deep are reported, and the rest is found."""
        self.write("d/" * 40 + "a.plug")
        deep = self.directory
        for _ in range(4):
            deep = deep / ("x/" * 40)
            deep.mkdir(parents=True)
        found = find_plug_files([self.directory])
        self.assertEqual(len(found.files), 1)
        (unreadable,) = found.unreadable.values()
        self.assertIn("more than 100 deep", str(unreadable))

    def test_broken_link(self) -> None:
        """A broken link is found, so that reading it reports the error."""
        (self.directory / "a.plug").symlink_to(self.directory / "nowhere")
        self.assertEqual(self.names(self.directory), ["a.plug"])

    def test_root_is_a_file(self) -> None:
        """A root may be a `.plug` file."""
        self.write("a.plug")
        self.write("b.plug")
        self.assertEqual(self.names(self.directory / "b.plug"), ["b.plug"])

    def test_relative_root(self) -> None:
        """A relative root, which may be a string, gives absolute paths."""
        self.write("a.plug")
        self.assertEqual(list(find_plug_files([os.path.relpath(self.directory)])), [self.directory / "a.plug"])

    def test_bad_roots(self) -> None:
        """A root that is missing or not a directory is reported in one line, and the others are searched."""
        self.write("good/a.plug")
        text = self.write("text.txt")
        found = find_plug_files([self.directory / "gone", text, self.directory / "good"])
        self.assertEqual([path.name for path in found], ["a.plug"])
        gone, no_directory = found.unreadable.values()
        self.assertEqual(gone, f"{self.directory}/gone: it doesn't exist; expected a directory with plugins")
        self.assertEqual(no_directory, f"{text}: it is not a directory; expected a directory with plugins")

    def test_closed_directory(self) -> None:
        """An unreadable directory is reported, and the others are searched."""
        self.write("closed/a.plug")
        self.write("open/b.plug")
        listed = Path.iterdir

        def closed(path: Path) -> Iterator[Path]:
            # Not by its mode: to root, who runs tests in containers, nothing is closed.
            if path.name == "closed":
                raise PermissionError(EACCES, os.strerror(EACCES), str(path))
            return listed(path)

        self.patch(Path, "iterdir", closed)
        found = find_plug_files([self.directory])
        self.assertEqual([path.name for path in found], ["b.plug"])
        self.assertEqual(
            list(found.unreadable.values()),
            [f"{self.directory}/closed: Permission denied; expected a directory with plugins"],
        )


class DirectoryWarningsTests(PluginFilesTestCase):
    """Directories of --plugin-dir and BOT_EXTRA_PLUGIN_DIR without plugins."""

    def test_names_of_directories(self) -> None:
        """A warning names the option or the setting, and the directory; one with a `.plug` or `.flow` file causes none."""
        for path in ("plugins/a/a.plug", "flows/b.flow", "setting/a.py", "option/a.txt"):
            self.write(path)
        config = load_config(
            None,
            {"BOT_EXTRA_PLUGIN_DIR": [str(self.directory / name) for name in ("plugins", "setting")]},
            plugin_dirs=[str(self.directory / name) for name in ("flows", "option")],
        )
        self.assertEqual(
            directory_warnings(config),
            [
                f"BOT_EXTRA_PLUGIN_DIR {self.directory}/setting: no .plug file in it or its folders",
                f"--plugin-dir {self.directory}/option: no .plug file in it or its folders",
            ],
        )

    def test_at_the_start(self) -> None:
        """Administrators are notified when the bot starts."""
        (self.directory / "empty").mkdir()
        self.plugin("Full", "from errklein import BotPlugin\nclass Full(BotPlugin): ...\n")
        bot = TestBot(plugin_dirs=[self.directory / "empty", self.directory])
        self.addCleanup(bot.stop)
        bot.start()
        self.assertEqual(
            bot.sent_to("@admin"), [f"plugin_dirs {self.directory}/empty: no .plug file in it or its folders"]
        )


class EntryPointTests(PluginFilesTestCase):
    """Plugins in installed distributions."""

    def install(self, distribution: str, entry_points: str, *files: str) -> None:
        """Install a distribution of that name, with files, in a directory on sys.path."""
        for file in files:
            self.write(f"site/{file}")
        info = f"site/{distribution}-1.0.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        self.write(f"{info}/entry_points.txt", entry_points)
        self.write(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))
        self.patch(sys, "path", [*sys.path, str(self.directory / "site")])

    def test_package(self) -> None:
        """A package's directory is a root, in errbot's group and in errklein's own."""
        self.install("one", "[errbot.plugins]\none = plugs_one\n", "plugs_one/__init__.py")
        self.install("two", "[errklein.plugins]\ntwo = plugs_two.inner:Thing\n", "plugs_two/inner/__init__.py")
        site = self.directory / "site"
        self.assertEqual(entry_point_roots(), [site / "plugs_one", site / "plugs_two/inner"])

    def test_single_module(self) -> None:
        """A single module gives its own `.plug` files, not those of other packages."""
        self.install("three", "[errbot.plugins]\nthree = three_mod\n", "three_mod.py", "three.plug")
        self.write("site/unrelated.plug")
        self.assertEqual(entry_point_roots(), [self.directory / "site/three.plug"])
        self.assertEqual(list(find_plug_files(entry_point_roots())), [self.directory / "site/three.plug"])

    def test_broken(self) -> None:
        """A package that can't be imported hides neither its `.plug` files nor others."""
        self.install("four", "[errbot.plugins]\nfour = plugs_four.sub\n", "plugs_four/__init__.py", "plugs_four/4.plug")
        self.write("site/plugs_four/__init__.py", "raise RuntimeError('broken')")
        self.assertEqual(entry_point_roots(), [self.directory / "site/plugs_four/4.plug"])

    def test_editable(self) -> None:
        """For an editable install, the `.plug` files beside the module that name it are found."""
        project = self.directory / "project"
        self.write("project/five_mod.py")
        self.write("project/odd_name.plug", "[Core]\nName = Five\nModule = five_mod\n")
        self.write("project/other.plug", "[Core]\nName = Other\nModule = other\n")
        self.write("project/other.py")
        self.write("project/inner/five_mod.py")
        self.write("project/inner/five_mod.plug", "[Core]\nName = Inner\nModule = five_mod\n")
        self.write("site/__editable__.five-1.0.pth", f"{project}\n")
        self.install("five", "[errbot.plugins]\nfive = five_mod:Five\n", "__editable__.five-1.0.pth")
        self.patch(sys, "path", [*sys.path, str(project)])
        self.assertEqual(entry_point_roots(), [project / "odd_name.plug"])
        # One that can't be read is known by its name, so that the administrator learns what is wrong with it.
        self.write("project/five_mod.plug", "nonsense")
        self.assertEqual(entry_point_roots(), [project / "five_mod.plug", project / "odd_name.plug"])

    def test_editable_by_finder(self) -> None:
        """An editable install with a finder gives the `.plug` files in the module's package."""
        self.write("project/six_pkg/__init__.py")
        self.write("project/six_pkg/plugin.py")
        self.write("project/six_pkg/six.plug", "[Core]\nName = Six\nModule = plugin\n")
        self.install("sixth", "[errbot.plugins]\nsix = six_pkg.plugin:Six\n")
        package = self.directory / "project" / "six_pkg"

        class Finder(MetaPathFinder):
            def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
                if fullname != "six_pkg":
                    return None
                return spec_from_file_location(fullname, package / "__init__.py")

        self.patch(sys, "meta_path", [*sys.meta_path, Finder()])
        self.addCleanup(sys.modules.pop, "six_pkg", None)
        self.assertEqual(entry_point_roots(), [package / "six.plug"])

    def test_editable_namespace(self) -> None:
        """For a namespace package in an editable install, setuptools' placeholder is ignored."""
        self.write("project/seven/seven.plug")
        self.install("seven", "[errbot.plugins]\nseven = seven\n")
        spec = ModuleSpec("seven", None, is_package=True)
        spec.submodule_search_locations = [str(self.directory / "project/seven"), "__editable__.seven.__path_hook__"]

        class Finder(MetaPathFinder):
            def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
                return spec if fullname == "seven" else None

        self.patch(sys, "meta_path", [*sys.meta_path, Finder()])
        self.assertEqual(entry_point_roots(), [self.directory / "project/seven"])
