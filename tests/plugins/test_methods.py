"""Mistakes in plugins' methods that are found before the methods are called."""

from __future__ import annotations

from typing import Any

from errklein.plugins import BotPlugin, methods
from errklein.plugins.methods import check_constructor, check_initialized, check_methods
from errklein.testing import PluginTestCase, TestBot
from tests.plugin_files import PluginFilesTestCase
from tests.plugins.method_check_case import ChecksTestCase
from tests.processes import ERRKLEIN, run, write_config, write_plugin

WRONG_COMMAND = """\
from errbot import BotPlugin, botcmd

class Hello(BotPlugin):
    @botcmd
    def hello(self, msg):
        return "hello"
"""

WITHOUT_SUPER = """\
from errbot import BotPlugin

class Quiet(BotPlugin):
    def deactivate(self):
        pass
"""


class SignatureTests(ChecksTestCase):
    """Methods that can't be called with what errklein passes."""

    def test_wrong_signatures(self) -> None:
        """Each method is reported with the parameters that it has and those that it must have."""
        for method, expected in (
            ("@botcmd\n def f(self, msg): ...", "(self, msg), but a command must take (self, msg, args)."),
            ("@botcmd\n def f(): ...", "(), but a command must take (self, msg, args)."),
            (
                "@botcmd\n def f(self, msg: str, args, more): ...",
                "(self, msg, args, more), but a command must take (self, msg, args).",
            ),
            (
                "@re_botcmd(pattern='x')\n async def f(self, msg): ...",
                "(self, msg), but a command with a pattern must take (self, msg, match).",
            ),
            (
                "@botmatch('x', matchall=True)\n def f(self, msg): ...",
                "(self, msg), but a command with a pattern must take (self, msg, matches).",
            ),
            (
                "@arg_botcmd('--count', default=1)\n @arg_botcmd('name')\n def f(self, msg, name=None): ...",
                "(self, msg, name=None), but a command with these declared arguments must take (self, msg, name, count).",
            ),
            (
                "@arg_botcmd('first-name')\n def f(self, msg, name): ...",
                "(self, msg, name), but a command with these declared arguments must take (self, msg, **arguments).",
            ),
            (
                "@arg_botcmd('name', unpack_args=False)\n def f(self, msg): ...",
                "(self, msg), but a command with unpack_args=False must take (self, msg, args).",
            ),
            (
                "@webhook('/x/<project>/<int:n>/')\n def f(self, payload, n): ...",
                "(self, payload, n), but a webhook with the rule '/x/<project>/<int:n>' must take (self, payload, project, n).",
            ),
            (
                "@webhook\n async def f(self): ...",
                "(self), but a webhook with the rule '/f' must take (self, payload).",
            ),
            (
                "@cmdfilter\n def f(self, msg, cmd, args): ...",
                "(self, msg, cmd, args), but a filter must take (self, msg, cmd, args, dry_run).",
            ),
            (
                "@cmdfilter(catch_unprocessed=True)\n def f(self, msg, cmd, args, dry_run): ...",
                (
                    "(self, msg, cmd, args, dry_run), but a filter with catch_unprocessed=True must take "
                    "(self, msg, cmd, args, dry_run, emptycmd=False)."
                ),
            ),
        ):
            found = self.findings(" " + method)
            self.assertEqual([(one.text, one.is_error) for one in found], [(f"P.f takes {expected}", True)])

    def test_wrong_callbacks(self) -> None:
        """Methods that override BotPlugin's are compared with those."""
        self.assertEqual(
            self.texts(
                " def callback_mention(self, message): ...\n"
                " def callback_room_joined(self, room, who, by=None): ...\n"
                " def callback_room_left(self, room, who): ...\n"
                " def check_configuration(self): ...\n"
            ),
            [
                "P.callback_mention takes (self, message), but it must take (self, message, mentioned_people).",
                "P.callback_room_left takes (self, room, who), but it must take (self, room, identifier, kicked_by).",
                "P.check_configuration takes (self), but it must take (self, configuration).",
            ],
        )

    def test_good_signatures(self) -> None:
        """Other names, defaults and arbitrary arguments are all right, and so is what can't be decided."""
        methods = """
 @botcmd
 def a(self, mess, args=None, *more): ...
 @botcmd(split_args_with=None)
 async def b(*everything): ...
 @arg_botcmd('--dry-run', action='store_true')
 @arg_botcmd('name', nargs='?', default='x')
 def c(self, message, dry_run=False, **rest): ...
 @arg_botcmd('name', unpack_args=False)
 def d(self, msg, given): ...
 @webhook('/<path:p>')
 def e(self, request, **captures): ...
 @webhook('/<nothing:x>')
 def f(self, request, x): ...
 @cmdfilter(catch_unprocessed=True)
 def g(self, msg, cmd, args, dry_run, emptycmd=False): ...
 @botcmd
 @classmethod
 def h(cls, msg): ...
 @any_arguments
 @botcmd
 def i(self): ...
 @any_arguments
 @arg_botcmd('name')
 def j(self, msg, name): ...
 @botcmd
 @inlineCallbacks
 def k(self, msg, args):
  yield
 @botcmd
 def reconfigure(self, msg, args): ...
 def callback_message(self, *args): ...
 get_configuration_template = staticmethod(lambda: {})
"""
        before = (
            "from functools import wraps\nfrom twisted.internet.defer import inlineCallbacks\n"
            "def any_arguments(function):\n @wraps(function)\n def call(*args, **kwargs): ...\n return call\n"
        )
        self.assertEqual(self.texts(methods, before), [])

    def test_decorated_methods(self) -> None:
        """The parameters of a method with inlineCallbacks, and those of another decorator's function, count."""
        before = (
            "from functools import wraps\nfrom twisted.internet.defer import inlineCallbacks\n"
            "def no_arguments(function):\n @wraps(function)\n def call(self): ...\n return call\n"
        )
        methods = """
 @botcmd
 @inlineCallbacks
 def a(self):
  yield
 @botcmd
 @no_arguments
 def b(self, msg, args): ...
"""
        self.assertEqual(
            self.texts(methods, before),
            [
                "P.a takes (self), but a command must take (self, msg, args).",
                "P.b takes (self), but a command must take (self, msg, args).",
            ],
        )

    def test_place(self) -> None:
        """The file and the line of the `def`, below the decorators, are named."""
        finding = self.findings("    @botcmd(\n        hidden=True,\n    )\n    def f(self, msg): ...")[0]
        self.assertEqual(finding.line, 7)
        self.assertTrue(str(finding).endswith("checked/main.py:7: " + finding.text))


class ConstructorTests(ChecksTestCase):
    """Constructors that errklein can't call, or that leave the plugin unusable."""

    def test_without_name(self) -> None:
        """A constructor has to take the plugin's name."""
        cls = self.load("class P(BotPlugin):\n def __init__(self, bot): ...")
        finding = check_constructor(cls)
        assert finding is not None
        self.assertEqual((finding.line, finding.is_error), (3, True))
        self.assertEqual(finding.text, "P.__init__ takes (self, bot), but it must take (self, bot, name=None).")

    def test_good_constructors(self) -> None:
        """Constructors that take both are all right."""
        for parameters in ("bot, name", "bot, name=None", "*args, **kwargs", "b, *, name, more=1"):
            cls = self.load(f"class P(BotPlugin):\n def __init__(self, {parameters}): ...")
            self.assertIsNone(check_constructor(cls), parameters)
        self.assertIsNone(check_constructor(BotPlugin))

    def test_without_super(self) -> None:
        """A constructor that doesn't call the inherited one is named."""
        finding = check_initialized(self.create("class P(BotPlugin):\n def __init__(self, bot, name): ..."))
        assert finding is not None
        self.assertEqual(finding.line, 3)
        self.assertEqual(finding.text, "P.__init__ doesn't call super().__init__(bot, name). Add that call.")
        good = "class P(BotPlugin):\n def __init__(self, bot, name):\n  BotPlugin.__init__(self, bot, name)"
        self.assertIsNone(check_initialized(self.create(good)))


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


class UnreadableSourceTests(ChecksTestCase):
    """Plugins whose source can't be read."""

    def test_source_is_gone(self) -> None:
        """Signatures are checked nevertheless, with the line of the first decorator."""
        plugin = self.create("class P(BotPlugin):\n @botcmd\n def f(self): ...\n def activate(self): ...\n")
        (self.directory / "checked" / "main.py").unlink()
        self.assertEqual(
            [(one.line, one.text) for one in check_methods(plugin)],
            [(3, "P.f takes (self), but a command must take (self, msg, args).")],
        )


class UnusualPluginTests(ChecksTestCase):
    """Plugins that the checks can't handle."""

    def test_error_in_a_check(self) -> None:
        """An exception in a check is logged, and nothing is reported about the plugin."""

        def fail(*args: object) -> None:
            raise RecursionError

        plugin = self.create("class P(BotPlugin):\n @botcmd\n def f(self): ...\n")
        self.patch(methods, "_missing_super_calls", fail)
        self.assertEqual(check_methods(plugin), [])
        self.assertEqual(len(self.flushLoggedErrors(RecursionError)), 1)

    def test_function_that_wraps_itself(self) -> None:
        """A method whose `__wrapped__` is itself is checked."""
        plugin = self.create("class P(BotPlugin):\n @botcmd\n def f(self): ...\n")
        f: Any = vars(type(plugin))["f"]
        f.__wrapped__ = f
        self.assertEqual(
            [finding.text for finding in check_methods(plugin)],
            ["P.f takes (self), but a command must take (self, msg, args)."],
        )

    def test_long_expression(self) -> None:
        """Mistakes are found beside an expression that is nested hundreds of times."""
        text = "(" + "\n   + ".join(["'x'"] * 400) + ").strip()"
        [finding] = self.findings(
            f" def activate(self):\n  self.text = {text}\n  super().activate()\n"
            f" def configure(self, configuration):\n  self.text = {text}\n"
            " def deactivate(self):\n  self.close_storage()\n"
        )
        self.assertIn("P.deactivate doesn't call super().deactivate()", finding.text)

    def test_wrapped_object(self) -> None:
        """The decorator's function has the place of a mistake if it wraps an object instead of a function."""
        before = (
            "from functools import wraps\nclass Caller:\n def __call__(self, *args): ...\n"
            "def call(f):\n @wraps(Caller())\n def g(self): ...\n g.__name__ = f.__name__\n return g\n"
        )
        [finding] = self.findings(" @botcmd\n @call\n def f(self, msg, args): ...\n", before)
        self.assertEqual((finding.text.partition(",")[0], finding.line), ("P.f takes (self)", 7))

    def test_constructor_without_source(self) -> None:
        """A constructor that is no function is reported without a place."""
        before = "from functools import partialmethod\n"
        cls = f"{before}class P(BotPlugin):\n __init__ = partialmethod(lambda self, *args, **kwargs: None)\n"
        finding = check_initialized(self.create(cls))
        assert finding is not None
        self.assertEqual(str(finding), "P.__init__ doesn't call super().__init__(bot, name). Add that call.")


class CorePluginTests(PluginTestCase):
    """The plugins that come with errklein."""

    def test_nothing_is_found(self) -> None:
        """None of them has a mistake."""
        instances = [plugin.instance for plugin in self.bot.bot.plugin_manager.found]
        self.assertGreater(len(instances), 10)
        self.assertEqual([finding for one in instances if one is not None for finding in check_methods(one)], [])


class ReportTests(PluginFilesTestCase):
    """Where the findings are shown."""

    def test_check_command(self) -> None:
        """`errklein check` prints errors as problems, which its status reports, and others as warnings."""
        for name, source in (("Hello", WRONG_COMMAND), ("Quiet", WITHOUT_SUPER)):
            write_plugin(self.directory, name, source)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        lines = result.stdout.splitlines()
        path = self.directory / "hello" / "hello.py"
        self.assertIn(
            f"problem: {path}:5: Hello.hello takes (self, msg), but a command must take (self, msg, args).", lines
        )
        warnings = [line for line in lines if line.startswith("warning: ")]
        self.assertEqual(len(warnings), 1, result.stdout)
        self.assertIn("Quiet.deactivate doesn't call super().deactivate()", warnings[0])

    def test_log(self) -> None:
        """The log has them when the plugin is loaded."""
        write_plugin(self.directory, "Hello", WRONG_COMMAND)
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        self.addCleanup(bot.stop)
        self.assertIn(
            f"{self.directory / 'hello' / 'hello.py'}:5: Hello.hello takes (self, msg), but a command must take (self, msg, args).",
            "\n".join(bot.log),
        )

    def test_administrators(self) -> None:
        """Administrators get one line for each method that can't be called, at the start and at each reload."""
        write_plugin(self.directory, "Hello", WRONG_COMMAND)
        write_plugin(self.directory, "Quiet", WITHOUT_SUPER)
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        self.addCleanup(bot.stop)
        path = self.directory / "hello" / "hello.py"
        line = f"{path}:5: Hello.hello takes (self, msg), but a command must take (self, msg, args)."
        self.assertEqual(bot.sent_to("@admin"), [line])
        self.assertEqual(bot.say("!plugin reload Hello"), [line, "Plugin Hello reloaded."])
        path.write_text(path.read_text().replace("(self, msg)", "(self, msg, args)"))
        self.assertEqual(bot.say("!plugin reload Hello"), ["Plugin Hello reloaded."])

    def test_administrators_of_added_plugins(self) -> None:
        """Administrators get the lines of plugins that are added later, and of those that didn't load at the start."""
        bot = TestBot()
        bot.start()
        self.addCleanup(bot.stop)
        write_plugin(self.directory, "Hello", WRONG_COMMAND)
        manager = bot.bot.plugin_manager
        self.assertEqual(self.successResultOf(manager.add([self.directory])), [])
        self.assertEqual(len(bot.sent_to("@admin")), 1)
        manager.plugin("Hello").instance = None
        self.successResultOf(manager.activate("Hello"))
        first, second = bot.sent_to("@admin")
        self.assertEqual(first, second)
        self.assertIn("Hello.hello takes (self, msg)", first)

    def test_constructors(self) -> None:
        """A plugin whose constructor can't be used is not loaded, and the reason names the line."""
        start = "from errbot import BotPlugin\nclass P(BotPlugin):\n"
        write_plugin(self.directory, "Nameless", start + " def __init__(self, bot):\n  super().__init__(bot)\n")
        write_plugin(self.directory, "Forgetful", start + " def __init__(self, bot, name): ...\n")
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        nameless, forgetful = (self.directory / name / f"{name}.py" for name in ("nameless", "forgetful"))
        self.assertEqual(
            str(error).splitlines(),
            [
                (
                    f"Forgetful could not be loaded: {forgetful}:3: P.__init__ doesn't call super().__init__(bot, name). "
                    "Add that call."
                ),
                (
                    f"Nameless could not be loaded: {nameless}:3: P.__init__ takes (self, bot), "
                    "but it must take (self, bot, name=None)."
                ),
            ],
        )
