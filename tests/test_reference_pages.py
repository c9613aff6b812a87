"""The reference pages are complete: they list what the code has."""

from __future__ import annotations

import ast
import inspect
import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data
from twisted.web.template import tags

from errklein import BotPlugin, cli, webhook
from errklein.commands import CommandDeclaration, is_admin_by_default
from errklein.plugins.methods import handlers_once_active
from errklein.testing import PluginTestCase
from errklein.testing._bot import TestBot
from errklein.verify import SCHEMES, verification
from errklein.web import facade
from errklein.webhooks.declaration import WebhookOptions
from errklein.webhooks.option_values import CHECKS
from tests.processes import ROOT

REFERENCE = ROOT / "docs" / "reference"

# Schemes that may be removed; their rows on the page stay.
OPTIONAL_SCHEMES = ("discord",)

# Names of the facade that are errklein's own, and not Flask's.
OWN_NAMES = {"FlaskJSON", "current_context", "endpoint_of", "response_of_error"}


class ChatCommandTests(PluginTestCase):
    """docs/reference/chat-commands.md."""

    bot: TestBot

    def listed(self) -> dict[str, bool]:
        """Return the page's commands, each with whether it is marked as for administrators."""
        page = (REFERENCE / "chat-commands.md").read_text("utf-8")
        rows = re.findall(r"^\| `!([^`]+)` \|(.*)\|", page, re.MULTILINE)
        return {text: rest.strip().startswith("A |") for text, rest in rows}

    def test_every_command_is_listed(self) -> None:
        """Each command of the core plugins has a row, with a mark if it is for administrators."""
        listed = self.listed()
        for plugin in self.bot.bot.plugin_manager.found:
            assert plugin.instance is not None
            for _, handler in handlers_once_active(plugin.instance):
                command = CommandDeclaration.of(handler)
                if command is None:
                    continue
                name = command.name.replace("_", " ")
                rows = {text: marked for text, marked in listed.items() if f"{text} ".startswith(f"{name} ")}
                self.assertTrue(rows, f"!{name} has no row in docs/reference/chat-commands.md")
                if name not in ("help", "status", "repos"):
                    self.assertEqual(
                        set(rows.values()), {bool(command.admin_only or is_admin_by_default(handler))}, name
                    )


class FlaskNameTests(PluginTestCase):
    """docs/reference/webhooks.md."""

    def test_every_name_is_listed(self) -> None:
        """Each name that `from flask import …` offers is on the page."""
        page = (REFERENCE / "webhooks.md").read_text("utf-8")
        offered = [name for name, value in vars(facade).items() if name[0] != "_" and not inspect.ismodule(value)]
        self.assertIn("jsonify", offered)
        missing = [name for name in offered if name not in OWN_NAMES and not re.search(rf"`{name}\b", page)]
        self.assertEqual(missing, [])


class WebhookOptionsTests(SynchronousTestCase):
    """The options of webhooks in docs/reference/webhooks.md."""

    def setUp(self) -> None:
        """Read the page."""
        self.page = (REFERENCE / "webhooks.md").read_text("utf-8")

    def names(self, heading: str) -> list[str]:
        """Return the names in the first column of the table whose first column has this heading."""
        table = self.page.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
        return [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]

    def test_parameters(self) -> None:
        """The tables have each parameter of the decorator, and each option of the operator."""
        self.assertEqual(self.names("parameter"), ["uri_rule", *WebhookOptions.__annotations__])
        self.assertEqual(sorted(self.names("key")), sorted((*CHECKS, "secret")))

    def test_error(self) -> None:
        """The example of an error is the text of an error."""
        [shown] = re.findall(r"^ValueError: @webhook on Github.notification: (.*)$", self.page, re.MULTILINE)
        error = self.assertRaises(ValueError, webhook(rate="10/d"), lambda self, payload: None)
        self.assertTrue(str(error).endswith(f"<lambda>: {shown}"), error)


class VerificationPageTests(SynchronousTestCase):
    """docs/reference/verification.md."""

    def setUp(self) -> None:
        """Read the page."""
        self.page = (REFERENCE / "verification.md").read_text("utf-8")

    def rows(self, heading: str) -> dict[str, list[str]]:
        """Return the rows of the first table after a heading whose first column has this name, by the first cell."""
        table = self.page.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
        cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
        return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in cells}

    def test_schemes(self) -> None:
        """Each scheme has a row with its options, its time window, and whether deliveries have an id."""
        rows = self.rows("scheme")
        self.assertEqual(list(rows), sorted({*SCHEMES, *OPTIONAL_SCHEMES}))
        needed = {"allowed": "192.0.2.1", "user": "x", "header": "X-A", "secret": "env:A", "public_key": "ab" * 32}
        for name, scheme in SCHEMES.items():
            _, _, window, ident, options = rows[name]
            parameters = inspect.signature(scheme).parameters
            if name != "hmac_signature":
                self.assertEqual(re.findall("`(.*?)`", options), list(parameters), name)
            tolerance = parameters.get("tolerance")
            self.assertEqual(re.findall(r"(\d+) s", window), [f"{tolerance.default:g}"] if tolerance else [], name)
            required = {key: needed[key] for key, value in parameters.items() if value.default is value.empty}
            made = verification(name, **{"secret": "env:A", **required} if "secret" in parameters else required)
            self.assertEqual(ident != "none", name == "hmac_signature" or made.delivery_id is not None, name)

    def test_options(self) -> None:
        """Each option is explained, with its default."""
        common = set(self.rows("option"))
        generic = {name: cells[0] for name, cells in self.rows_of_hmac().items()}
        for name, scheme in SCHEMES.items():
            parameters = inspect.signature(scheme).parameters
            if name != "hmac_signature":
                self.assertEqual(set(parameters) - common, set(), name)
                continue
            self.assertEqual(list(generic), list(parameters))
            for key, parameter in parameters.items():
                if parameter.default is parameter.empty:
                    self.assertEqual(generic[key], "required", key)
                elif parameter.default is not None:
                    self.assertEqual(ast.literal_eval(generic[key].strip("`")), parameter.default, key)

    def rows_of_hmac(self) -> dict[str, list[str]]:
        """Return the rows of the options of hmac_signature."""
        self.page = self.page.partition("### Other sources")[2]
        return self.rows("option")

    def test_signed_request(self) -> None:
        """The example of `errklein sign` prints what the page shows."""
        console = self.page.partition("```console\n")[2].partition("```")[0]
        secret = re.search('GH_SECRET="(.*)"', console)
        body = re.search("echo '(.*)' > push.json", console)
        command, _, output = console.partition("$ errklein ")[2].partition("\n")
        assert secret is not None and body is not None
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "push.json").write_text(f"{body[1]}\n")
        os.environ["GH_SECRET"] = secret[1]
        self.addCleanup(os.environ.pop, "GH_SECRET")
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        os.chdir(directory)
        self.patch(sys, "stdout", io.StringIO())
        cli.main(shlex.split(command))
        self.assertEqual(sys.stdout.getvalue(), output)


FORM = "application/x-www-form-urlencoded"


async def coroutine() -> str:
    """Return a text."""
    return "text"


class Tables(BotPlugin):
    """Has a webhook for each kind of payload and return value."""

    @webhook
    def payload(self, payload: Any) -> str:
        return repr(payload)

    @webhook(form_param="field")
    def field(self, payload: Any) -> str:
        return repr(payload)

    @webhook(raw=True, max_body=10)
    def raw(self, request: Any) -> dict[str, Any]:
        return {"body": request.get_data().decode(), "json": request.get_json(silent=True), "q": request.args.get("q")}

    @webhook
    def json(self, payload: Any) -> Any:
        return facade.request.get_json()

    @webhook(threaded=False)
    def returned(self, payload: Any) -> Any:
        return RETURNED[int(facade.request.args["row"])][0]()


RETURNED: list[tuple[Any, int, str, str]] = [
    (lambda: None, 200, "", ""),
    (list, 200, "", ""),
    (lambda: 0, 200, "", ""),
    (lambda: "text", 200, "text", "text/html; charset=utf-8"),
    (lambda: b"text", 200, "text", "text/html; charset=utf-8"),
    (lambda: {"b": 1, "a": 2}, 200, '{"a":2,"b":1}\n', "application/json"),
    (lambda: ["a"], 200, '["a"]\n', "application/json"),
    (lambda: ("text", 201), 201, "text", ""),
    (lambda: ("text", {"Content-Type": "text/plain"}), 200, "text", "text/plain"),
    (lambda: ("text", 202, [("Content-Type", "text/plain")]), 202, "text", "text/plain"),
    (lambda: facade.Response("text", 203), 203, "text", ""),
    (lambda: facade.jsonify(a=1), 200, '{"a":1}\n', "application/json"),
    (lambda: facade.redirect("/payload", 307), 307, "<!doctype html>", ""),
    (lambda: (item for item in ("te", "xt")), 200, "text", ""),
    (lambda: succeed("text"), 200, "text", ""),
    (coroutine, 200, "text", ""),
    (lambda: Data(b"text", "text/plain"), 200, "text", "text/plain"),
    (lambda: tags.p("text"), 200, "<p>text</p>", "text/html"),
    (object, 500, "", ""),
    (lambda: ("text", 1000), 500, "", ""),
]
"""A function that returns a value, then the status, the beginning of the body and of the media type of its response."""


class WebhookTableTests(PluginTestCase):
    """The tables of docs/reference/webhooks.md."""

    plugins = (Tables,)

    def test_payloads(self) -> None:
        """A body is decoded by its media type."""
        for body, content_type, payload in (
            ("", "application/json", ""),
            ("a=1&b=&a=2", FORM, {"a": "1", "b": ""}),
            ('{"a": 1}', "application/json", {"a": 1}),
            ('{"a": 1}', "text/plain", {"a": 1}),
            ("[]", "", []),
            ("{", "text/plain", "{"),
        ):
            response = self.post("/payload", data=body, headers={"Content-Type": content_type} if content_type else {})
            self.assertEqual(response.text, repr(payload), body)

    def test_error_page(self) -> None:
        """The example of an error is the response to a request for a missing webhook."""
        page = (REFERENCE / "webhooks.md").read_text("utf-8")
        [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        expected = {**json.loads(example), "request_id": None}
        response = self.get("/nowhere", headers={"Accept": "application/json"})
        self.assertEqual({**response.json(), "request_id": None}, expected)

    def test_rejected_payloads(self) -> None:
        """A body that can't be decoded is rejected."""
        for body, headers, status in (
            ("{", {"Content-Type": "application/vnd.x+json; charset=utf-8"}, 400),
            ("[" * 600 + "]" * 600, {"Content-Type": "application/json"}, 400),
            ("&".join("a" * 1001), {"Content-Type": FORM}, 413),
            ("x", {"Content-Type": "multipart/form-data"}, 400),
            (b"\xff", {"Content-Type": "text/plain"}, 400),
            ("x", {"Content-Type": "text/plain; charset=klingon"}, 415),
            ("x", {"Content-Encoding": "gzip"}, 415),
        ):
            self.assertEqual(self.post("/payload", data=body, headers=headers).status, status, body)

    def test_form_param(self) -> None:
        """The named field is decoded if it is JSON, and must be there."""
        self.assertEqual(self.post("/field", data={"field": '{"a": 1}'}).text, "{'a': 1}")
        self.assertEqual(self.post("/field", data={"field": "text"}).text, "'text'")
        self.assertEqual(self.post("/field", data={"other": "1"}).status, 400)
        self.assertEqual(self.post("/field", json={"field": 1}).status, 400)

    def test_raw(self) -> None:
        """A raw handler gets the request; its limit is its own."""
        self.assertEqual(self.post("/raw?q=x", data="abc").json(), {"body": "abc", "json": None, "q": "x"})
        self.assertEqual(self.post("/raw", data="a" * 11).status, 413)

    def test_get_json(self) -> None:
        """Without `silent`, `get_json` aborts with 400 for invalid JSON and with 415 for another media type."""
        self.assertEqual(self.post("/json", json={"a": 1}).json(), {"a": 1})
        self.assertEqual(self.post("/json", data="abc").status, 415)

    def test_return_values(self) -> None:
        """Each kind of value becomes its response."""
        for row, (_, status, body, content_type) in enumerate(RETURNED):
            response = self.get("/returned", params={"row": str(row)})
            self.assertEqual(response.status, status, row)
            if status != 500:
                self.assertTrue(response.text.startswith(body), (row, response.text))
                self.assertTrue((response.header("Content-Type") or "").startswith(content_type), row)
        self.assertEqual(len(self.flushLoggedErrors()), 2)
