"""Chapter 5: webhooks of plugins that are activated, reloaded and deactivated."""

from __future__ import annotations

from tests.contract.kit import ContractTest, decided
from tests.contract.webhooks import WebhookTest


class LifecycleTests(WebhookTest):
    """Routes and the state of their plugin."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def first(self, payload):
                return "one"

            @webhook
            def second(self, payload):
                return "one"
        """

    @decided("a deactivated plugin still handles requests")
    def test_deactivated(self) -> None:
        """A deactivated plugin has no routes; after its activation they work again."""
        self.assertEqual(self.post("/first"), "one")
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/first").status_code, 404)
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/first"), "one")

    @decided("a reload refreshes only one webhook")
    def test_reloaded(self) -> None:
        """After a reload all webhooks run the new code."""
        self.assertEqual((self.post("/first"), self.post("/second")), ("one", "one"))
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace('"one"', '"two"'))
        self.ask("!plugin reload Tried")
        self.assertEqual((self.post("/first"), self.post("/second")), ("two", "two"))


class RoutedTests(WebhookTest):
    """Routes that a reload adds or removes."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def later(self, payload):
                return "one"

            def callback_connect(self):
                self.connected = True
        """

    @decided("the new webhook gets no route")
    def test_new_hook(self) -> None:
        """A webhook that a reload adds works, and one that it removes gets 404."""
        self.assertEqual(self.post("/later"), "one")
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace("def later", "def added"))
        self.ask("!plugin reload Tried")
        self.assertEqual(self.post("/added"), "one")
        self.assertEqual(self.send("POST", "/later").status_code, 404)

    @decided("webhooks of a deactivated plugin call the old instance")
    def test_instance(self) -> None:
        """After a reload the new instance handles requests."""
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/later").status_code, 404)
        self.ask("!plugin reload Tried")
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/later"), "one")


class BrokenActivationTests(ContractTest):
    """A plugin whose `activate` fails."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            def activate(self):
                raise RuntimeError("not today")

            @webhook
            def hook(self, payload):
                return "never"
        """

    def test_not_routed(self) -> None:
        """The webhooks of a plugin whose activation fails have no routes."""
        self.drain()
        from errbot.core_plugins import flask_app

        self.assertEqual(flask_app.test_client().post("/hook").status_code, 404)
        self.assertEqual(flask_app.test_client().post("/echo", data=b"1").status_code, 200)


class ForgetfulTests(ContractTest):
    """A plugin whose `activate` doesn't call the inherited one."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            connects = 0

            def activate(self):
                self.begun = True

            def callback_connect(self):
                self.connects += 1

            @webhook
            def hook(self, payload):
                return f"{self.begun} {self.is_activated} {self.connects}"
        """

    def answer(self) -> tuple[int, str]:
        """Return the status and text of its webhook's response."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook")
        return answer.status_code, answer.get_data(as_text=True)

    def test_routed(self) -> None:
        """The plugin counts as inactive, but its webhooks work, and `callback_connect` was called."""
        self.assertEqual(self.answer(), (200, "True False 1"))

    def test_reloaded(self) -> None:
        """After a reload the webhooks work as well."""
        self.ask("!plugin reload Tried")
        self.drain()
        status, text = self.answer()
        # errbot keeps the instance, so the number of calls differs.
        self.assertEqual((status, text.rpartition(" ")[0]), (200, "True False"))

    @decided("a deactivated plugin still handles requests")
    def test_deactivated(self) -> None:
        """After the plugin is deactivated, its webhooks get 404."""
        self.assertIn("already deactivated", self.ask("!plugin deactivate Tried"))
        self.assertEqual(self.answer()[0], 404)


class WithoutServerTests(ContractTest):
    """Webhooks while no web server is configured."""

    plugin = """
        from errbot import BotPlugin, botcmd, webhook
        from errbot.core_plugins import flask_app

        class Tried(BotPlugin):
            def callback_connect(self):
                self.answer = flask_app.test_client().post("/hook", data=b"[2]").get_data()

            @webhook
            def hook(self, payload):
                return repr(payload)

            @webhook("/of/<name>", methods=("GET", "PUT"))
            def variable(self, payload, name):
                return name

            @botcmd
            def routes(self, msg, args):
                rules = [rule for rule in flask_app.url_map.iter_rules() if rule.rule in ("/hook", "/of/<name>")]
                return "; ".join(sorted(f"{rule.rule} {rule.endpoint} {sorted(rule.methods)}" for rule in rules))
        """

    def test_listed(self) -> None:
        """`flask_app.url_map` lists the webhooks of plugins with their methods and endpoints."""
        self.assertEqual(
            self.ask("!routes"),
            "/hook hook_POST_GET ['GET', 'HEAD', 'OPTIONS', 'POST']; "
            "/of/<name> variable_GET_PUT ['GET', 'HEAD', 'OPTIONS', 'PUT']",
        )

    def test_listed_by_werkzeugs_attribute(self) -> None:
        """`flask_app.url_map._rules`, which backends read, is the list of the same rules."""
        from errbot.core_plugins import flask_app

        rules = flask_app.url_map._rules
        self.assertIsInstance(rules, list)
        self.assertLessEqual({"/hook", "/of/<name>"}, {rule.rule for rule in rules})

    @decided("the rules stay")
    def test_listed_while_active(self) -> None:
        """The rules of a deactivated plugin aren't listed."""
        from errbot.core_plugins import flask_app

        self.assertIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])
        self.replies("!plugin deactivate Tried")
        self.assertNotIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])

    def test_before_the_connection(self) -> None:
        """Webhooks have routes when `callback_connect` is called."""
        self.assertEqual(self.instance().answer, b"[2]")

    def test_routed(self) -> None:
        """Webhooks have routes even if nothing listens."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook", data=b"[1]")
        self.assertEqual((answer.status_code, answer.get_data()), (200, b"[1]"))
