"""Tests for the test case with a bot."""

from __future__ import annotations

import asyncio
import gc
import time
import unittest
from typing import Any

from twisted.python.reflect import namedAny, qual
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.testing import PluginTestCase, TestBot


class Greeter(BotPlugin):
    """Has a webhook and a command."""

    number = 0

    @webhook
    def greet(self, payload: Any) -> str:
        return f"hello {payload}"

    @webhook("/channel/<int:number>")
    def channel(self, payload: Any, number: int) -> str:
        return str(number)

    @webhook("/form", form_param="payload")
    def form(self, payload: Any) -> str:
        return "ok"

    @webhook
    def broken(self, payload: Any) -> str:
        return str(payload["missing"])

    @webhook
    def own(self, payload: Any) -> tuple[str, int]:
        return "no coffee", 418

    @webhook
    async def slow(self, payload: Any) -> str:
        await asyncio.sleep(2)
        return "done"

    @webhook(ack="now")
    def later(self, payload: Any) -> None:
        if payload.get("fail"):
            raise ValueError("not yet")

    @webhook(methods=["PROPFIND"])
    async def propfind(self, payload: Any) -> str:
        return await self.slow(payload)

    @botcmd
    async def wait(self, msg: Any, args: str) -> str:
        """Wait for two seconds."""
        await asyncio.sleep(2)
        return "done"

    @botcmd
    def fail(self, msg: Any, args: str) -> str:
        """Raise an exception."""
        raise ValueError("it failed")

    @botcmd
    def silent(self, msg: Any, args: str) -> None:
        """Reply nothing."""

    @botcmd
    def whoami_here(self, msg: Any, args: str) -> str:
        """Return the sender."""
        return str(msg.frm)


class PluginTestCaseTests(PluginTestCase):
    """The methods of the test case."""

    plugins = (Greeter,)
    config = {"BOT_PREFIX": "?"}

    def test_requests(self) -> None:
        """`get` and `post` return the response."""
        self.assertEqual(self.post("/greet", data="you").text, "hello you")
        self.assertEqual(self.get("/greet").text, "hello ")

    def test_patch_is_also_trials(self) -> None:
        """With an object, an attribute and a value, `patch` replaces the attribute, as in every test case of trial."""
        plugin = self.bot.plugin("Greeter")
        patched = self.patch(plugin, "number", 1)
        self.assertEqual(plugin.number, 1)
        patched.restore()
        self.assertEqual(plugin.number, 0)
        self.assertEqual(self.patch("/greet").status, 405)

    def test_commands(self) -> None:
        """A command comes from an administrator, or from `frm`; settings are those of the class."""
        self.assertEqual(self.command("?whoami here"), "@admin")
        self.assertEqual(self.command("?whoami here", frm="@bob"), "@bob")

    def test_nothing_is_shared(self) -> None:
        """Each test has a bot of its own."""
        self.assertEqual(self.bot.messages, [])
        self.assertEqual(len(self.bot.bot.plugin_manager.active()), len(TestBotNames.of(self.bot)))


class TestBotNames:
    """Finds the names of active plugins."""

    __test__ = False

    @staticmethod
    def of(bot: TestBot) -> set[str]:
        """Return the names of active plugins, without duplicates."""
        return {plugin.name for plugin in bot.bot.plugin_manager.active()}


class FailureTests(SynchronousTestCase):
    """The report that a developer gets when a test of a plugin fails."""

    def run_case(self, body: Any) -> unittest.TestResult:
        """Return the result of a test case with this one test."""

        class Case(PluginTestCase):
            plugins = (Greeter,)

            def test_it(self) -> None:
                """Run the body."""
                body(self)

        result = unittest.TestResult()
        Case("test_it").run(result)
        return result

    def test_failed_assertion_explains(self) -> None:
        """A failed assertion shows the compared values, the routes and the log."""

        def body(case: PluginTestCase) -> None:
            case.assertEqual(case.post("/gret").status, 200)

        ((_, said),) = self.run_case(body).failures
        self.assertIn("404 != 200", said)
        self.assertIn("POST, GET, HEAD /greet -> Greeter:greet", said)
        self.assertIn('"POST /gret" 404', said)

    def test_parallel_runs(self) -> None:
        """`trial -j` finds the class of the failure by its name; otherwise it shows "Unknown Error" without the text."""

        def body(case: PluginTestCase) -> None:
            with case.assertRaises(AssertionError) as self.raised:
                case.fail()

        self.run_case(body)
        name = qual(type(self.raised.exception))
        self.assertEqual(name, "errklein.testing.FailedAssertion")
        self.assertTrue(issubclass(namedAny(name), AssertionError))

    def test_cause(self) -> None:
        """Below the line and the difference is the error of the last request or command, and then the webhooks."""
        for body, cause in (
            (
                lambda case: case.assertEqual(case.post("/gret").status, 200),
                "404 != 200\nPOST /gret: 404, no webhook matches this path; did you mean /greet?\nWebhooks:",
            ),
            (
                lambda case: case.assertEqual(case.post("/chanel/5").status, 200),
                "POST /chanel/5: 404, no webhook matches this path; did you mean /channel/<int:number>?\n",
            ),
            (
                lambda case: case.assertEqual(case.put("/greet?a=b").status, 200),
                "PUT /greet: 405, the webhook at this path doesn't accept PUT; it accepts GET, HEAD, OPTIONS, POST\n",
            ),
            (
                lambda case: case.assertEqual(case.post("/form", data={"a": "1"}).status, 200),
                "400 != 200\nPOST /form: 400, the form has no field 'payload'; it has 'a'\n",
            ),
            (
                lambda case: case.assertEqual(case.post("/own").status, 200),
                "418 != 200\nPOST /own: 418, I'm a Teapot no coffee\n",
            ),
            (
                lambda case: case.assertEqual(case.command("!whomi here"), ""),
                "!whomi here: command not found; did you mean !whoami or !whoami here?\n",
            ),
            (lambda case: case.assertEqual(case.command("!zzz"), ""), "!zzz: command not found\n"),
        ):
            ((_, said),) = self.run_case(body).failures
            text = said.partition("FailedAssertion: test_case.py:")[2].partition(": ")[2]
            self.assertIn(cause, text)

    def test_begins_with_the_line(self) -> None:
        """A failed assertion begins with the line of the test that called it, and the difference."""

        def body(case: PluginTestCase) -> None:
            case.post("/gret")
            case.assertEqual([1], [2])

        ((_, said),) = self.run_case(body).failures
        line = body.__code__.co_firstlineno + 2
        self.assertIn(f"errklein.testing.FailedAssertion: test_case.py:{line}: Lists differ: [1] != [2]\n", said)

    def test_waiting_deliveries(self) -> None:
        """The deliveries of `ack="now"` that no `advance` has run yet are counted, with the call that runs them."""
        for body, hint in (
            (lambda case: case.post("/later", {}), "\n1 delivery waits; call advance(0)\nWebhooks:"),
            (lambda case: [case.post("/later", {}) for _ in range(2)], "\n2 deliveries wait; call advance(0)\n"),
            (lambda case: (case.post("/later", {}), case.bot.advance(0)), "\nWebhooks:"),
        ):
            ((_, said),) = self.run_case(lambda case, body=body: (body(case), case.fail("sent"))).failures
            self.assertIn(f": sent{hint}", said)

    def test_delivery_that_is_retried(self) -> None:
        """A delivery whose handler has failed waits for the time of its next attempt."""

        def body(case: PluginTestCase) -> None:
            case.post("/later", {"fail": True})
            case.bot.advance(0)
            case.flushLoggedErrors(ValueError)
            case.fail("sent")

        ((_, said),) = self.run_case(body).failures
        seconds = int(said.partition("1 delivery waits; call advance(")[2].partition(")")[0])
        self.assertGreater(seconds, 0)

    def test_exception(self) -> None:
        """If a handler raised, the cause is the exception with file and line, and the source."""
        for body, begin in (
            (lambda case: case.assertEqual(case.post("/broken", json={}).status, 200), "POST /broken: 500, KeyError"),
            (lambda case: case.assertEqual(case.command("!fail"), ""), "!fail: ValueError"),
        ):
            ((_, said),) = self.run_case(body).failures
            cause, source = said[said.index(f"\n{begin}") + 1 :].split("\n")[:2]
            self.assertTrue(cause.startswith(f"{begin} in test_case.py, line "), cause)
            self.assertRegex(source, r"^    \d+ \| (return str\(payload|raise ValueError)")

    def test_no_reply(self) -> None:
        """A command without a reply, or without the prefix, is named in the first line."""
        for text, begin in (
            (
                "whoami here",
                "whoami here: not a command without the prefix; did you mean !whoami here?\nmessages: []\nWebhooks:",
            ),
            ("!silent", "!silent: no replies instead of one; bot.say() returns any number of them\nmessages: []"),
        ):
            ((_, said),) = self.run_case(lambda case, text=text: case.command(text)).errors
            self.assertIn(f"AssertionError: {begin}", said)

    def test_only_the_last_interaction(self) -> None:
        """An earlier error doesn't appear after a request that succeeds."""

        def body(case: PluginTestCase) -> None:
            case.post("/gret")
            case.assertEqual(case.post("/greet").text, "")

        ((_, said),) = self.run_case(body).failures
        self.assertRegex(said, r"FailedAssertion: test_case.py:\d+: 'hello ' != ''\n- hello \n(\+ \n)?Webhooks:")

    def test_response_that_is_not_json(self) -> None:
        """The exception has the status and the body."""
        ((_, said),) = self.run_case(lambda case: case.post("/own").json()).errors
        self.assertIn("ValueError: the body of the response 418 I'm a Teapot is not JSON: 'no coffee'", said)

    def test_explanation_is_asked_for_late(self) -> None:
        """The report has the routes although trial reads it after the bot has stopped."""

        def body(case: PluginTestCase) -> None:
            with case.assertRaises(AssertionError) as self.raised:
                case.fail()

        self.run_case(body)
        self.assertIn("Greeter:greet", str(self.raised.exception))

    def test_left_over_timer_fails(self) -> None:
        """A passing test fails if a delayed call is left over."""

        def body(case: PluginTestCase) -> None:
            case.bot.reactor.callLater(1, print)

        result = self.run_case(body)
        said = "".join(text for _, text in (*result.failures, *result.errors))
        self.assertIn("left over after the bot has stopped: delayed call", said)
        self.assertIn("end them in the plugin's deactivate()", said)

    def test_request_to_handler_that_waits(self) -> None:
        """If the handler waits for time, the failure names it and the methods that let time pass."""
        ((_, said),) = self.run_case(lambda case: case.post("/slow?a=b")).failures
        self.assertIn(
            "POST /slow?a=b: Greeter.slow waits; use `waiting = self.bot.post(…)`, `self.bot.advance(…)` and "
            "`self.successResultOf(waiting)`",
            said,
        )
        result = self.run_case(lambda case: case.request("PROPFIND", "/propfind"))
        self.assertIn('Greeter.propfind waits; use `waiting = self.bot.request("PROPFIND", …)`', result.failures[0][1])

    def test_command_that_waits(self) -> None:
        """If the command's handler waits for time, the failure names it and the methods that let time pass."""
        said = self.run_case(lambda case: case.command("!wait")).errors[0][1]
        self.assertIn(
            "!wait: Greeter.wait waits; use `self.bot.say`, `self.bot.advance(…)` and `self.bot.messages`\n", said
        )

    def test_test_ends_while_handler_waits(self) -> None:
        """A handler that waits when the test ends is named instead of its timer, with the remedy."""
        for body, handler in (
            (lambda case: case.bot.post("/slow"), "Greeter.slow"),
            (lambda case: case.bot.say("!wait"), "Greeter.wait"),
        ):
            ((_, said),) = self.run_case(body).errors
            # An error of the broken connection would be logged now.
            gc.collect()
            self.assertIn(
                f"LeftOver: the test ended while {handler} waited; call `self.bot.advance(…)` until it responds "
                "(left over after the bot has stopped: asyncio timer)",
                said,
            )

    def test_passing_test(self) -> None:
        """A passing test takes less than 50 ms."""

        def body(case: PluginTestCase) -> None:
            case.assertEqual(case.post("/greet", json=1).text, "hello 1")

        self.run_case(body)
        durations = []
        for _ in range(5):
            begun = time.process_time()
            result = self.run_case(body)
            durations.append(time.process_time() - begun)
            self.assertTrue(result.wasSuccessful(), result.failures or result.errors)
        self.assertLess(min(durations), 0.05)
