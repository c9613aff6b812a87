"""Methods of plugins that lack a call of the method they override."""

from __future__ import annotations

from errklein.plugins.method_checks import check_methods
from tests.plugins.method_check_case import ChecksTestCase


class SuperTests(ChecksTestCase):
    """Methods that have to call the inherited ones."""

    def test_missing_calls(self) -> None:
        """Without `activate` the plugin can't work; without `deactivate` it works until it is to stop."""
        found = self.findings(
            " def activate(self):\n  self.thing.activate()\n async def deactivate(self):\n  super().close_storage()\n"
        )
        self.assertEqual(
            [(one.text, one.is_error) for one in found],
            [
                (
                    (
                        "P.activate doesn't call super().activate(), so P stays inactive and its commands are missing. "
                        "Add that call."
                    ),
                    True,
                ),
                (
                    (
                        "P.deactivate doesn't call super().deactivate(), so its commands and pollers continue after a "
                        "deactivation or reload. Add that call."
                    ),
                    False,
                ),
            ],
        )

    def test_calls(self) -> None:
        """A call is found in every form, also in a helper, under a condition, or handed over."""
        for body in (
            "super().activate()",
            "super(P, self).activate()",
            "BotPlugin.activate(self)",
            "if self.config:\n   super().activate()",
            "deferToThread(super().activate)",
            "self._begin()\n def _begin(self):\n  super().activate()",
            "getattr(super(), 'activate')()",
            "parent = super()\n  parent.activate()",
        ):
            self.assertEqual(self.texts(f" def activate(self):\n  {body}"), [], body)

    def test_calls_that_may_be_hidden(self) -> None:
        """Code that may call the inherited method in another place isn't reported."""
        before = (
            "def retry(f):\n def run(*args): return f(*args)\n return run\n"
            "def start(plugin): BotPlugin.activate(plugin)\n"
            "class Starting:\n def __init__(self, plugin): start(plugin)\n"
        )
        for body in (
            " @retry\n def activate(self):\n  super().activate()",
            " def activate(self):\n  self._parent()\n _parent = BotPlugin.activate",
            (
                " def activate(self):\n  self._parent()\n def __init__(self, *args, **kwargs):\n"
                "  super().__init__(*args, **kwargs)\n  self._parent = super().activate"
            ),
            " def activate(self):\n  start(self)",
            " def activate(self):\n  self.start()\n def start(self):\n  start(self)",
            " def activate(self):\n  me = self\n  start(me)",
            " def activate(self):\n  Starting(plugin=self)",
            " activate = start",
            " activate = lambda self: None",
            " def activate(self):\n  self.begin()\n begin = partialmethod(start)",
        ):
            self.assertEqual(self.texts(body, "from functools import partialmethod\n" + before), [], body)

    def test_calls_that_lead_elsewhere(self) -> None:
        """A method that uses itself, its own methods and other objects, but not the inherited method, is reported."""
        for body in (
            "self.activate()",
            "self._begin()\n def _begin(self):\n  self._again()\n  self._begin()\n def _again(self):\n  self._begin()",
            "self.log.info('x')\n  self.start_poller(5, self._tick)\n def _tick(self): ...",
            "self.state = self.State()\n class State: ...",
            "super(P, self).close_storage()",
        ):
            [text] = self.texts(f" def activate(self):\n  {body}")
            self.assertIn("P.activate doesn't call super().activate()", text)
        inline = " @inlineCallbacks\n def activate(self):\n  yield"
        [text] = self.texts(inline, "from twisted.internet.defer import inlineCallbacks\n")
        self.assertIn("P.activate doesn't call super().activate()", text)

    def test_classes_between(self) -> None:
        """The class whose method stops the chain is named, and no class behind BotPlugin is looked at."""
        before = (
            "class Base(BotPlugin):\n def activate(self): ...\n"
            "class Mixin:\n def activate(self): ...\n def deactivate(self): ...\n"
        )
        source = "class P(Base, Mixin):\n def activate(self):\n  super().activate()\n"
        found = check_methods(self.create(before + source))
        self.assertEqual(
            [(one.text.partition(",")[0], one.line) for one in found],
            [("Base.activate doesn't call super().activate()", 3)],
        )

    def test_decorated(self) -> None:
        """The call is looked for in the method, not in its decorator."""
        before = "from functools import wraps\ndef log(f):\n @wraps(f)\n def g(*args): return f(*args)\n return g\n"
        self.assertEqual(self.texts(" @log\n def activate(self):\n  super().activate()", before), [])

    def test_configure(self) -> None:
        """A `configure` that keeps the configuration nowhere is reported if the plugin reads `self.config`."""
        use = " @botcmd\n def f(self, msg, args):\n  return self.config['x']\n"
        found = self.findings(" def configure(self, configuration):\n  self.settings = configuration\n" + use)
        self.assertEqual(
            [(one.text, one.is_error) for one in found],
            [
                (
                    (
                        "P.configure neither calls super().configure(configuration) nor assigns self.config, which line 8 "
                        "uses. Add one of the two."
                    ),
                    False,
                )
            ],
        )
        for body in ("self.config = configuration", "super().configure(configuration)", "setattr(self, 'config', 1)"):
            self.assertEqual(self.texts(f" def configure(self, configuration):\n  {body}\n" + use), [])
        self.assertEqual(self.texts(" config = None\n def configure(self, configuration): ...\n" + use), [])
        self.assertEqual(self.texts(" def configure(self, configuration): ...\n"), [])
