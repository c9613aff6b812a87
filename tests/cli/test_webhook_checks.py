"""The problems and warnings of `errklein check` about webhooks."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.cli._check import configured_hooks, describe, secret_problems, webhook_warnings
from errklein.sources import find_source
from errklein.testing import PluginTestCase
from errklein.verify import github
from errklein.webhooks.options import configured, hook_options
from tests.processes import ERRKLEIN, run, write_config, write_plugin

METHODS = ("POST", "GET")


class Builds(BotPlugin):
    """Has webhooks with and without options."""

    @webhook
    def bare(self, payload: Any) -> None: ...

    @webhook(methods=["GET"])
    def chosen(self, payload: Any) -> None: ...

    @webhook(verify=github(secret=["env:BUILDS_OLD", "env:BUILDS_NEW"]), ack="now", rate="10/s")
    def verified(self, payload: Any) -> None: ...


class PluginChecks(PluginTestCase):
    """The checks of one plugin."""

    plugins = (Builds,)

    def warnings(self, setting: Any = None, default_methods: Any = METHODS) -> list[str]:
        """Return the warnings about the plugin and a core plugin with a value of WEBHOOKS."""
        configure = partial(
            configured, find_source=find_source, options=hook_options(setting or {}), default_methods=default_methods
        )
        return list(webhook_warnings([self.bot.plugin("Builds"), self.bot.plugin("Webserver")], configure))

    def test_hooks_that_accept_get_by_default(self) -> None:
        """One warning names the webhooks whose methods nobody has chosen, unless they are verified or of a core plugin."""
        [warning] = self.warnings()
        self.assertEqual(
            warning,
            "the preview of a posted link calls these webhooks, since they accept GET by default: Builds:bare; "
            "set WEBHOOK_METHODS = ('POST',), or the methods of each webhook",
        )

    def test_chosen_methods(self) -> None:
        """There is no warning if the operator has chosen the methods, also GET, or a default without GET."""
        self.assertEqual(self.warnings({"Builds:bare": {"methods": ["POST", "GET"]}}), [])
        self.assertEqual(self.warnings(default_methods=("POST",)), [])

    def test_verification_switched_off(self) -> None:
        """There is a warning if the operator has switched off the verification of a plugin."""
        warnings = self.warnings({"Builds:verified": {"verify": None}}, ("POST",))
        self.assertEqual(
            warnings,
            ["WEBHOOKS['Builds:verified']: anyone can call this webhook, since its verification is switched off"],
        )

    def test_secrets(self) -> None:
        """Each missing secret is an error, with the webhook and the reference; one that is there is none."""
        self.enterContext(mock.patch.dict(os.environ, {"BUILDS_NEW": "a secret of the test"}))
        hooks = list(configured_hooks(self.bot.plugin("Builds"), lambda hook: hook))
        [problem] = (problem.text for problem in secret_problems(hooks))
        self.assertIn(
            "Builds:verified responds with 503, since its requests can't be verified: env:BUILDS_OLD: ", problem
        )
        del os.environ["BUILDS_NEW"]
        [problem] = (problem.text for problem in secret_problems(hooks))
        self.assertRegex(problem, "env:BUILDS_OLD: .*; env:BUILDS_NEW: ")

    def test_secret_that_nobody_has_set(self) -> None:
        """A webhook that names its source needs a secret from the plugin or from WEBHOOKS."""
        options = hook_options({"Builds:bare": {"source": "github"}})
        configure = partial(configured, find_source=find_source, options=options, default_methods=METHODS)
        [unset, _] = secret_problems(configured_hooks(self.bot.plugin("Builds"), configure))
        self.assertIn("Builds:bare responds with 503", unset.text)
        self.assertIn("no secret of GitHub is configured; set it in config.py", unset.text)

    def test_description(self) -> None:
        """Each webhook is shown as the operator has configured it."""
        options = hook_options({"Builds:bare": {"methods": "PUT", "verify": "github", "secret": "env:X"}})
        configure = partial(configured, find_source=find_source, options=options, default_methods=METHODS)
        self.assertEqual(
            list(describe(self.bot.plugin("Builds"), "!", configure)),
            [
                "PUT /bare: bare, in a thread (plain function), verified by github",
                "GET /chosen: chosen, in a thread (plain function), not verified",
                'POST, GET /verified: verified, in a thread (plain function), verified by github, ack="now", at most 10/s',
            ],
        )


class CheckTests(SynchronousTestCase):
    """`errklein check` in a process of its own."""

    def test_problems(self) -> None:
        """An unknown webhook, contradictory options and a missing secret are problems, with exit status 1."""
        directory = Path(self.mktemp()).absolute()
        source = (
            "from errklein import BotPlugin, webhook\nclass Shop(BotPlugin):\n"
            "    @webhook\n    def order(self, payload): pass\n"
            "    @webhook(methods=['POST'])\n    def paid(self, payload): pass\n"
        )
        write_plugin(directory / "plugins", "Shop", source)
        settings = {
            "Shop:ordr": {"ack": "now"},
            "Shop:order": {"verify": "github", "secret": "env:NO_SUCH_SECRET"},
            "Shop:paid": {"attempts": 3},
        }
        write_config(
            directory,
            {"BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"), "WEBHOOKS": settings, "WEBHOOK_METHODS": ("POST",)},
        )
        done = run(ERRKLEIN, "check", cwd=directory)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        problems = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
        for problem, beginning in zip(
            sorted(problems),
            (
                "problem: Shop:order responds with 503, since its requests can't be verified: env:NO_SUCH_SECRET: ",
                "problem: WEBHOOKS['Shop:ordr']: the plugin Shop has no webhook 'ordr'; did you mean 'order'?",
                "problem: WEBHOOKS['Shop:paid']: expected ack='now' for attempts, not 'after'",
            ),
            strict=True,
        ):
            self.assertTrue(problem.startswith(beginning), problem)
        self.assertIn("\n\nShop: has a problem, see below\n", done.stdout)
        self.assertIn("    POST /order: order, in a thread (plain function), verified by github\n", done.stdout)
        self.assertTrue(done.stdout.endswith("Found 3 problems and no warnings.\n"), done.stdout)

    def test_webhooks_of_rooms(self) -> None:
        """A missing secret or template is a problem; rooms that may be misspelt, and paths in the way, have warnings."""
        directory = Path(self.mktemp()).absolute()
        source = (
            "from errklein import BotPlugin, webhook\nclass Shop(BotPlugin):\n"
            "    @webhook('/hooks/<name>/<key>', methods=['POST'])\n    def order(self, payload, name, key): pass\n"
            "    @webhook('/paid', methods=['POST'])\n    def paid(self, payload): pass\n"
            "    @webhook('/sent/<itn:number>', methods=['POST'])\n    def sent(self, payload, number): pass\n"
        )
        write_plugin(directory / "plugins", "Shop", source)
        write_plugin(
            directory / "plugins",
            "page",
            source.replace("/hooks/<name>/<key>", "/page/<name>/<key>").replace("/paid", "/x"),
        )
        of_page = {"source": "pagerduty", "room": "#ops", "secret": "env:PAGE"}
        settings: dict[str, Any] = {
            "alerts": {"source": "grafana", "room": "#opss", "secret": "env:NO_SUCH_TOKEN", "events": ["firing"]},
            "page": {**of_page, "template": "page.md"},
        }
        write_config(
            directory,
            {
                "BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"),
                "CHATROOM_PRESENCE": ("#ops",),
                "WEBHOOKS": settings,
                "WEBHOOK_BASE_PATH": "/hooks",
            },
        )
        self.enterContext(mock.patch.dict(os.environ, {"PAGE": "a secret of PagerDuty"}))
        done = run(ERRKLEIN, "check", cwd=directory)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        lines = done.stdout.splitlines()
        self.assertIn("alerts: webhook of #opss", lines)
        self.assertIn(
            '    POST /hooks/alerts: grafana, verified by token in the address, ack="now", at most 600/min', lines
        )
        problems = sorted(line for line in lines if line.startswith("problem: "))
        for beginning, problem in zip(
            (
                "Shop:sent: invalid rule '/sent/<itn:number>'",
                "WEBHOOKS['page']: template: ",
                "alerts responds with 503 to all requests: env:NO_SUCH_TOKEN: ",
                "page:sent: invalid rule '/sent/<itn:number>'",
            ),
            problems,
            strict=True,
        ):
            self.assertTrue(problem.startswith(f"problem: {beginning}"), problem)
        self.assertEqual(
            [line for line in lines if line.startswith("warning: ")],
            [
                (
                    "warning: WEBHOOK_PREFIX: addresses of webhooks of rooms begin with /hooks/hooks, since WEBHOOK_BASE_PATH has this "
                    "path already; set WEBHOOK_PREFIX to another one"
                ),
                (
                    "warning: WEBHOOKS['alerts']: the bot joins #opss for this webhook, but it isn't in CHATROOM_PRESENCE; did you mean "
                    "'#ops'?"
                ),
                (
                    "warning: Shop:order: its path /hooks/<name>/<key> is below /hooks, so it gets requests for webhooks of rooms first; "
                    "change the path, or set WEBHOOK_PREFIX to another one"
                ),
                "warning: WEBHOOKS['page']: a plugin has this name, too; choose another one",
            ],
        )

    def test_control_characters(self) -> None:
        """Line ends and control characters in the pattern of a command are escaped."""
        directory = Path(self.mktemp()).absolute()
        source = (
            "from errklein import BotPlugin, re_botcmd\nclass Shop(BotPlugin):\n"
            "    @re_botcmd(pattern='a\\nb\\x1b', prefixed=False)\n    def order(self, msg, match): pass\n"
        )
        write_plugin(directory / "plugins", "Shop", source)
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins")})
        done = run(ERRKLEIN, "check", cwd=directory)
        self.assertIn("    a\\nb\\x1b: order, in a thread (plain function)\n", done.stdout)
