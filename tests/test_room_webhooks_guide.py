"""The guides "A webhook in a room" and "Write a source" work when they are followed."""

from __future__ import annotations

import re
import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.testing import PluginTestCase, TestBot
from tests.processes import ERRKLEIN, ROOT, run, write_config

GUIDE = (ROOT / "docs" / "guides" / "room-webhooks.md").read_text("utf-8")
EXAMPLES = ROOT / "docs" / "examples"


class RoomWebhooksGuideTests(PluginTestCase):
    """A room in which the guide is followed."""

    bot: TestBot
    config = {
        "BOT_ADMINS": ("@admin", "@alice"),
        "CHATROOM_PRESENCE": ("#ops", "#dev"),
        # With names of the network in memory in place of IRC's masks.
        "ACCESS_CONTROLS": {
            commands: {"allowusers": tuple(f"@{mask.partition('!')[0]}" for mask in rule["allowusers"])}
            for commands, rule in runpy.run_path(str(EXAMPLES / "config_room_rule.py"))["ACCESS_CONTROLS"].items()
        },
    }

    def test_conversation(self) -> None:
        """Each line that is typed gets the reply below it."""
        turns = re.findall(r"^<alice> (.*)\n<errklein> (.*)$", GUIDE, re.MULTILINE)
        self.assertEqual(len(turns), GUIDE.count("\n<alice> "))
        for typed, reply in turns:
            shown = [one.text for one in self.bot.say(typed, frm="@alice", room="#ops") if one.to == "#ops"]
            self.assertEqual(shown, [reply], typed)

    def test_rule(self) -> None:
        """The access rule lets others make webhooks of rooms that they are in."""
        self.assertNotIn("matches no command", "\n".join(self.bot.log))
        shown = [one.text for one in self.bot.say("!webhook new grafana", frm="@bob", room="#dev")]
        self.assertIn("Made grafana for #dev; its address is in your private messages.", shown)
        refused = self.bot.say("!webhook new grafana", frm="@carol", room="#dev")
        self.assertIn("not allowed", "".join(refused))


class WriteASourceTests(SynchronousTestCase):
    """The package of the guide, installed as by pip."""

    def test_installed(self) -> None:
        """The configuration may name the source; nothing else is needed."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        shutil.copy(EXAMPLES / "source" / "errklein_kiln.py", directory)
        project: dict[str, Any] = tomllib.loads((EXAMPLES / "source" / "pyproject.toml").read_text("utf-8"))["project"]
        metadata = directory / f"errklein_kiln-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        [(group, points)] = project["entry-points"].items()
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        webhook = {"source": "kiln", "room": "#builds", "secret": f"file:{directory / 'secret'}"}
        (directory / "secret").write_text("only-kiln-and-I-know")
        write_config(directory, {"CHATROOM_PRESENCE": ("#builds",), "WEBHOOKS": {"builds": webhook}})
        done = run(ERRKLEIN, "check", cwd=directory, fresh=True)
        self.assertIn("    POST /hooks/builds: kiln, verified by hmac_signature", done.stdout, done.stderr)
        self.assertTrue(done.stdout.endswith("Found no problems and no warnings.\n"), done.stdout)
