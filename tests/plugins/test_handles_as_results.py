"""Tests that what `send` returns counts as None wherever a handler returns or yields it, and that the network isn't waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, FlowRoot, Message, botcmd, cmdfilter, on_reactor, webhook
from errklein.chat.handles import Handle
from errklein.ports.receipts import Receipt
from errklein.testing import TestBot

Function = Callable[..., Any]


def _say(plugin: Any) -> Any:
    return plugin.send(plugin.build_identifier("#testroom"), "sent")


def in_thread() -> Function:
    """Return a plain handler."""
    return lambda self, *args, **kwargs: _say(self)


def coroutine() -> Function:
    """Return an `async def` handler."""

    async def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _say(self)

    return handler


def waiting_coroutine() -> Function:
    """Return an `async def` handler that waits for something else."""

    async def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        await _later(self)
        return _say(self)

    return handler


def generator_of_deferreds() -> Function:
    """Return a handler with `inlineCallbacks`."""

    @inlineCallbacks
    def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        yield _later(self)
        return _say(self)

    return handler


def deferred() -> Function:
    """Return a handler whose Deferred fires with the handle."""
    return on_reactor(lambda self, *args, **kwargs: succeed(_say(self)))


def on_the_reactor() -> Function:
    """Return a plain handler that runs on the reactor."""
    return on_reactor(lambda self, *args, **kwargs: _say(self))


def hidden_deferred() -> Function:
    """Return a plain handler that returns a Deferred from its thread, which fires with the handle."""
    return lambda self, *args, **kwargs: succeed(_say(self))


def _later(plugin: Any) -> Deferred[None]:
    waited: Deferred[None] = Deferred()
    plugin._bot.reactor.callLater(0, waited.callback, None)
    return waited


EXECUTIONS = (
    in_thread,
    coroutine,
    waiting_coroutine,
    generator_of_deferreds,
    deferred,
    on_the_reactor,
    hidden_deferred,
)


def items() -> Function:
    """Return a generator, which runs in a thread."""

    def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        yield _say(self)
        yield "end"

    return handler


def async_items() -> Function:
    """Return an asynchronous generator."""

    async def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        yield _say(self)
        yield "end"

    return handler


def deferred_items() -> Function:
    """Return an asynchronous generator that also yields a coroutine, whose result is a handle."""

    async def say(self: Any) -> Any:
        return _say(self)

    async def handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        yield say(self)
        yield "end"

    return handler


class HandleCase(SynchronousTestCase):
    """A bot on a network that accepts messages and never confirms one, so that whatever waits for it never ends."""

    def started(self, **attributes: Any) -> TestBot:
        """Return a bot with a plugin that has these attributes; `texts` has the texts that reach the network."""
        bot = TestBot([type("Sender", (BotPlugin,), attributes)])
        bot.start()
        self.addCleanup(bot.stop)
        self.texts: list[str] = []

        def send_message(message: Message) -> Receipt:
            self.texts.append(message.body)
            return Receipt(f"test/k{len(self.texts)}")

        self.patch(bot.backend, "send_message", send_message)
        return bot

    def assert_texts(self, bot: TestBot, *texts: str) -> None:
        """Assert that these texts were sent, and that no handler waits."""
        bot.advance(0)
        self.assertEqual(self.texts, list(texts))
        self.assertEqual(bot.waiting(), [])


class ReturnTests(HandleCase):
    """Each kind of handler, in each kind of execution, returns the handle."""

    def test_command(self) -> None:
        """A command that returns it has no further reply."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(tell=botcmd(execution(), name="tell"))
                bot.say("!tell")
                self.assert_texts(bot, "sent")

    def test_webhook(self) -> None:
        """A webhook that returns it has an empty response, at once."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(tell=_named(execution(), webhook("/tell")))
                responding = bot.post("/tell")
                self.assert_texts(bot, "sent")
                response = self.successResultOf(responding)
                self.assertEqual((response.status, response.text), (200, ""))

    def test_callback(self) -> None:
        """A callback that returns it has ended."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(callback_message=execution())
                bot.say("hello")
                self.assert_texts(bot, "sent")

    def test_poller(self) -> None:
        """A poller that returns it has its next call in time."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(tell=execution())
                plugin = bot.plugin("Sender")
                plugin.start_poller(5, plugin.tell)
                bot.advance(5)
                bot.advance(5)
                self.assert_texts(bot, "sent", "sent")

    def test_filter(self) -> None:
        """A filter that returns it blocks the command, as one that returns None."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(hello=_hello("hello"), asked=_named(execution(), cmdfilter))
                bot.say("!hello")
                self.assert_texts(bot, "sent")
                self.flushLoggedErrors(TypeError)

    def test_filter_of_unknown_commands(self) -> None:
        """A filter that returns it for an unknown command has no further reply."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(asked=_named(execution(), cmdfilter(catch_unprocessed=True)))
                bot.say("!unknown")
                # The other sentence is that of errklein's own filter.
                self.assert_texts(bot, "sent", 'Command "unknown" not found.')

    def test_flow_step(self) -> None:
        """An automatic step that returns it has succeeded, and the next one follows."""
        for execution in EXECUTIONS:
            with self.subTest(execution=execution.__name__):
                bot = self.started(
                    begin=_hello("begin"),
                    tell=botcmd(execution(), name="tell"),
                    again=botcmd(execution(), name="again"),
                )
                root = FlowRoot("telling", "Say it twice.")
                begun = root.connect("begin", auto_trigger=True)
                begun.connect("tell", lambda ctx: True).connect("again", lambda ctx: True)
                bot.bot.flow_executor.add_flow(root)
                bot.say("!begin")
                bot.advance(1)
                bot.advance(1)
                self.assert_texts(bot, "hello", "sent", "sent")


class ItemTests(HandleCase):
    """Generators yield the handle."""

    def test_command(self) -> None:
        """The item is no reply, and the next one follows at once."""
        for generator in (items, async_items, deferred_items):
            with self.subTest(generator=generator.__name__):
                bot = self.started(tell=_named(generator(), botcmd(name="tell")))
                bot.say("!tell")
                self.assert_texts(bot, "sent", "end")

    def test_webhook(self) -> None:
        """The item isn't in the streamed response."""
        for generator in (items, async_items):
            with self.subTest(generator=generator.__name__):
                bot = self.started(tell=_named(generator(), webhook("/tell")))
                responding = bot.post("/tell")
                self.assert_texts(bot, "sent")
                self.assertEqual(self.successResultOf(responding).text, "end")


class ConfirmedTests(HandleCase):
    """Handlers that wait for the network themselves, and return the result."""

    def test_result(self) -> None:
        """The result is no reply either."""

        async def tell(self: Any, message: Any, args: Any) -> Any:
            return await _say(self)

        bot = TestBot([type("Sender", (BotPlugin,), {"tell": botcmd(tell, name="tell")})])
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.say("!tell"), ["sent"])

    def test_body_in_a_tuple(self) -> None:
        """With a status beside it, it is the error that None is, and its text isn't the body."""
        bot = self.started(tell=_named(lambda self, request: (_say(self), 202), webhook("/tell")))
        response = self.successResultOf(bot.post("/tell"))
        self.assertEqual((response.status, "k1" in response.text), (500, False))
        self.flushLoggedErrors(TypeError)

    def test_helpers_keep_it(self) -> None:
        """A coroutine that a handler awaits returns the handle itself, and a value of JSON may contain it."""

        async def helper(self: Any) -> Any:
            return _say(self)

        async def tell(self: Any, request: Any) -> Any:
            sent = await helper(self)
            return {"sent": sent, "is a handle": isinstance(sent, Handle)}

        bot = self.started(tell=_named(tell, webhook("/tell")))
        response = self.successResultOf(bot.post("/tell"))
        self.assertEqual(response.json(), {"sent": "test/k1", "is a handle": True})


def _hello(name: str) -> Function:
    def hello(self: Any, message: Any, args: Any) -> str:
        return "hello"

    return botcmd(hello, name=name)


def _named(function: Function, decorate: Callable[[Function], Function]) -> Function:
    function.__name__ = "tell"
    return decorate(function)
