"""Chapter 5: webhooks of plugins that are activated, reloaded and deactivated."""

from __future__ import annotations

from tests.contract.kit import ContractTest, decided
from tests.contract.webhooks import WebhookTest


class LifecycleTests(WebhookTest):
    """Routes and their plugin's life."""

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

    @decided("a deactivated plugin keeps answering")
    def test_deactivated(self) -> None:
        """A plugin that isn't active has no routes; when it is again they are back."""
        self.assertEqual(self.post("/first"), "one")
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/first").status_code, 404)
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/first"), "one")

    @decided("a reload refreshes one hook only")
    def test_reloaded(self) -> None:
        """After a reload every hook runs the new code."""
        self.assertEqual((self.post("/first"), self.post("/second")), ("one", "one"))
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace('"one"', '"two"'))
        self.ask("!plugin reload Tried")
        self.assertEqual((self.post("/first"), self.post("/second")), ("two", "two"))


class RoutedTests(WebhookTest):
    """When routes come and go."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def later(self, payload):
                return "one"

            def callback_connect(self):
                self.connected = True
        """

    @decided("it is never routed")
    def test_new_hook(self) -> None:
        """A hook that a reload adds is answered, one that it removes isn't."""
        self.assertEqual(self.post("/later"), "one")
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace("def later", "def added"))
        self.ask("!plugin reload Tried")
        self.assertEqual(self.post("/added"), "one")
        self.assertEqual(self.send("POST", "/later").status_code, 404)

    @decided("a deactivated plugin's hooks answer with the dead instance")
    def test_instance(self) -> None:
        """After a reload the new instance answers."""
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/later").status_code, 404)
        self.ask("!plugin reload Tried")
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/later"), "one")


class BrokenActivationTests(ContractTest):
    """A plugin that can't be activated."""

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
        """Hooks are routed when `activate` has succeeded, else there are none."""
        self.drain()
        from errbot.core_plugins import flask_app

        self.assertEqual(flask_app.test_client().post("/hook").status_code, 404)
        self.assertEqual(flask_app.test_client().post("/echo", data=b"1").status_code, 200)


class ForgetfulTests(ContractTest):
    """A plugin that doesn't call the `activate` that it overrides."""

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
        """What its webhook answers."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook")
        return answer.status_code, answer.get_data(as_text=True)

    def test_routed(self) -> None:
        """It counts as inactive, but its hooks are answered, and it has been told that there is a connection."""
        self.assertEqual(self.answer(), (200, "True False 1"))

    def test_reloaded(self) -> None:
        """So it is after a reload."""
        self.ask("!plugin reload Tried")
        self.drain()
        status, text = self.answer()
        # An instance that is kept has been told before.
        self.assertEqual((status, text.rpartition(" ")[0]), (200, "True False"))

    @decided("a deactivated plugin keeps answering")
    def test_deactivated(self) -> None:
        """Deactivated, it answers nothing any more."""
        self.assertIn("already deactivated", self.ask("!plugin deactivate Tried"))
        self.assertEqual(self.answer()[0], 404)


class WithoutServerTests(ContractTest):
    """While the web server isn't configured."""

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
        """A plugin that lists the rules of `flask_app.url_map` finds the hooks of plugins."""
        self.assertEqual(
            self.ask("!routes"),
            "/hook hook_POST_GET ['GET', 'HEAD', 'OPTIONS', 'POST']; "
            "/of/<name> variable_GET_PUT ['GET', 'HEAD', 'OPTIONS', 'PUT']",
        )

    @decided("they stay")
    def test_listed_while_active(self) -> None:
        """Rules go with their plugin."""
        from errbot.core_plugins import flask_app

        self.assertIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])
        self.replies("!plugin deactivate Tried")
        self.assertNotIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])

    def test_before_the_connection(self) -> None:
        """They are when `callback_connect` is called."""
        self.assertEqual(self.instance().answer, b"[2]")

    def test_routed(self) -> None:
        """Hooks are routed all the same, whether anything listens or not."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook", data=b"[1]")
        self.assertEqual((answer.status_code, answer.get_data()), (200, b"[1]"))
