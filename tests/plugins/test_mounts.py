"""Tests for `self.mount`, with which plugins serve Twisted resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from klein import Klein
from twisted.web.static import Data

from errklein import BotPlugin, botcmd, webhook
from errklein.testing import PluginTestCase
from errklein.web import ConnectionBroken


class Board(BotPlugin):
    """A plugin with a page."""

    paths = ("/board", "/first")

    def activate(self) -> None:
        super().activate()
        app = Klein()

        @app.route("/")
        def index(request: Any) -> str:
            return f"the board of {self.name}"

        self.mount(self.paths[0], app.resource())
        self.mount(self.paths[1], Data(b"data", "text/plain"))

    @botcmd
    def more(self, msg: Any, args: str) -> str:
        """Mount another resource, from a thread."""
        self.mount("more", Data(b"more", "text/plain"))
        return "mounted"

    @botcmd
    def wrong(self, msg: Any, args: str) -> str:
        """Mount something that is no resource."""
        try:
            self.mount("/wrong", Klein())  # type: ignore[arg-type]
        except TypeError as error:
            return str(error)
        return "accepted"


class MountTests(PluginTestCase):
    """Resources of a plugin."""

    plugins = (Board,)

    def test_life(self) -> None:
        """A resource is served from the plugin's activation to its deactivation, and again after another activation."""
        self.assertEqual(self.get("/board/").text, "the board of Board")
        self.assertEqual(self.get("/first").text, "data")
        self.command("!plugin deactivate Board")
        self.assertEqual([self.get(path).status for path in ("/board/", "/first")], [404, 404])
        self.command("!plugin activate Board")
        self.assertEqual(self.get("/first").text, "data")

    def test_other_paths_after_another_activation(self) -> None:
        """A path that the plugin no longer mounts is gone."""
        self.addCleanup(setattr, Board, "paths", Board.paths)
        Board.paths = ("/board", "/second")
        self.command("!plugin deactivate Board")
        self.command("!plugin activate Board")
        self.assertEqual([self.get(path).status for path in ("/first", "/second")], [404, 200])

    def test_mounted_while_active(self) -> None:
        """An active plugin may mount more, also in a thread."""
        self.command("!more")
        self.assertEqual([self.get(path).text for path in ("/more", "/first")], ["more", "data"])

    def test_webstatus(self) -> None:
        """`!webstatus` lists the mounts with their plugins."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.assertIn("/board -> Board", self.command("!webstatus"))

    def test_not_a_resource(self) -> None:
        """Anything but a resource is an error with the remedy."""
        self.assertIn("app.resource()", self.command("!wrong"))


class OwnMount(BotPlugin):
    """A plugin that uses the name for something else."""

    mount = "/mnt/backup"

    @botcmd
    def where(self, msg: Any, args: str) -> str:
        """Return the mount point."""
        return self.mount


class OwnMountTests(PluginTestCase):
    """A plugin's own attribute."""

    plugins = (OwnMount,)

    def test_own_attribute(self) -> None:
        """A plugin's own attribute `mount` takes precedence."""
        self.assertEqual(self.command("!where"), "/mnt/backup")


class Streams(BotPlugin):
    """A plugin whose stream doesn't end."""

    has_ended = False

    @webhook
    async def stream(self, payload: Any) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.sleep(3600)
        finally:
            self.has_ended = True


class StreamTests(PluginTestCase):
    """Streams of a plugin that is deactivated."""

    plugins = (Streams,)

    def test_end(self) -> None:
        """A stream ends when its plugin is deactivated."""
        response, plugin = self.bot.get("/stream"), self.bot.plugin("Streams")
        self.assertFalse(plugin.has_ended)
        self.command("!plugin deactivate Streams")
        self.failureResultOf(response, ConnectionBroken)
        self.assertTrue(plugin.has_ended)
