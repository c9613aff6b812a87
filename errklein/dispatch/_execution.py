"""Execution of commands: splits arguments, calls handlers on the reactor or in a thread, and sends the results."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentTypeError
from collections.abc import Callable, Mapping
from functools import partial
from logging import INFO
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.commands import CommandError, History, RegisteredCommand, Sender, is_concurrent, is_core
from errklein.dispatch._invocation import Invocation
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.dispatch.replies import Replies, failure_text
from errklein.running import Overloaded, Placement, PooledRunner, PoolStopped, SerialQueue, place
from errklein.running.context import assigned, running_command
from errklein.running.workers import Workers
from errklein.text import code
from errklein.text.masking import masker

_ABOUT_ARGUMENTS = (ValueError, SystemExit, CommandError, ArgumentError, ArgumentTypeError)
"""Exceptions with which splitters such as shlex and argparse reject arguments. Any other is a bug in the splitter."""

HUNG_AFTER = 60.0
"""The time for which an admin-only command holds up the next one, in seconds."""

Run = Callable[[Invocation], Deferred[Any]]


class Execution:
    """Runs permitted commands: admin-only commands one at a time, all others concurrently.

    Commands of the core, with which administrators repair the bot, have threads and a queue of their own. An admin-only
    command that hangs holds up others for a minute only.

    With `BOT_ASYNC = False`, commands that run in threads run one at a time, too.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        histories: dict[str, History],
        workers: Workers,
        replies: Replies,
        flows: FlowExecutor,
    ) -> None:
        self._histories = histories
        self._workers = workers
        self._replies = replies
        self._flows = flows
        self._admin_queues = tuple(SerialQueue(reactor, hung_after=HUNG_AFTER) for _ in range(2))
        """Those of plugins and of the core."""
        self._blocking_commands = SerialQueue(reactor)
        self._running_alone = ["", ""]
        self.outcomes = {"succeeded": 0, "rejected": 0, "failed": 0}
        """The number of commands since the start: those that raised a CommandError are rejected."""

    def stop(self) -> None:
        """Drop the commands that wait for another command."""
        for queue in (*self._admin_queues, self._blocking_commands):
            queue.stop()

    def begin(self, invocation: Invocation) -> Deferred[Any] | None:
        """Run the command. Returns a Deferred that fires when it has ended, or None if it already has."""
        command = invocation.command
        if not self._flows.enter(invocation.message, command):
            return None
        # Creating the event costs as much as the rest of a short command.
        if invocation.settings.BOT_LOG_LEVEL <= INFO:
            # The arguments may be secret.
            self.log.info("{sender} runs {command}", sender=invocation.message.frm, command=command.name)
        declaration = command.declaration
        if declaration.historize and (sender := Sender.of(invocation.message)).person:
            self._histories[invocation.backend.network].remember(sender, command.name, invocation.args)
        if declaration.pattern is not None:
            match = declaration.match(invocation.args)
            return None if match is None else self._line_up(invocation.with_args(match), self._run)
        if not declaration.splits_synchronously:
            return self._line_up(invocation, self._split_and_run)
        try:
            args = declaration.split(invocation.args)
        except Exception:
            self._replies.reply_to(invocation, self._not_split(Failure(), invocation))
            return None
        return self._line_up(invocation.with_args(args), self._run)

    def _line_up(self, invocation: Invocation, run: Run) -> Deferred[Any] | None:
        """Call `run`, which is `_run` or `_split_and_run`, now or when the commands queued before it have ended."""
        command = invocation.command
        where = place(command.handler)
        waits = command.declaration.admin_only and not is_concurrent(command.handler)
        if where is Placement.REACTOR and not command.yields and not waits and run == self._run:
            return self._run_here(invocation)
        begin: Callable[[], Deferred[Any]] = partial(run, invocation)
        core = is_core(command.handler)
        if where is Placement.THREAD and not core and not invocation.settings.BOT_ASYNC:
            begin = partial(self._blocking_commands.run, begin)
        if waits:
            if not core:
                # Commands of the core that came before it run before it, too.
                begin = partial(self._after_core, begin)
            begin = partial(
                self._admin_queues[core].run,
                partial(self._alone, core, command.name, begin),
                partial(self._reply_that_it_waits, core, invocation),
            )
        running = begin()
        running.addCallback(self._succeeded, invocation)
        running.addErrback(self._failed, invocation)
        return running

    def _alone(self, core: bool, name: str, begin: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._running_alone[core] = name
        return begin()

    def _after_core(self, begin: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        return self._admin_queues[True].run(lambda: succeed(None)).addCallback(lambda _: begin())

    def _reply_that_it_waits(self, core: bool, invocation: Invocation) -> None:
        names = (invocation.command.name, self._running_alone[core])
        given, other = (f"{invocation.settings.BOT_PREFIX}{name.replace('_', ' ')}" for name in names)
        self._replies.reply_to(
            invocation, f"{code(given)} waits for {code(other)} to end; admin-only commands run one at a time."
        )

    def _split_and_run(self, invocation: Invocation) -> Deferred[Any]:
        """Split the arguments with a plugin's own splitter, which may block, then run the command."""

        def run(args: Any) -> Deferred[Any]:
            return self._run(invocation.with_args(args))

        def refuse(failure: Failure) -> Failure:
            if failure.check(PoolStopped, Overloaded):
                return failure
            raise CommandError(self._not_split(failure, invocation))

        runner = self._runner(invocation.command)
        return runner.run(invocation.command.declaration.split, invocation.args).addCallbacks(run, refuse)

    def _runner(self, command: RegisteredCommand) -> PooledRunner:
        return self._workers.core if is_core(command.handler) else self._workers.commands

    def _run(self, invocation: Invocation) -> Deferred[Any]:
        command = invocation.command
        give = partial(self._replies.give, invocation)
        with assigned(running_command, command):
            if command.yields:
                return self._runner(command).run_generator(give, command.handler, invocation.message, invocation.args)
            running = self._runner(command).run(command.handler, invocation.message, invocation.args)
        template = command.declaration.template
        if template and place(command.handler) is Placement.THREAD:
            running.addCallback(self._rendered, template, command.owner)
        return running.addCallback(give)

    def _rendered(self, item: Any, template: str, owner: str) -> Any:
        """Return the result as text, with its template rendered in a thread, since a template may take long."""
        if not item or not isinstance(item, Mapping):
            return item
        return self._workers.commands.pool.run(
            lambda: partial(self._replies.process_template, template, item, plugin_name=owner)
        )

    def _run_here(self, invocation: Invocation) -> Deferred[Any] | None:
        """Run the command on the reactor. Most commands return their result at once and need no Deferred."""
        try:
            with assigned(running_command, invocation.command):
                result = self._workers.commands.runner.start(
                    invocation.command.handler, invocation.message, invocation.args
                )
            if not isinstance(result, Deferred):
                self._replies.give(invocation, result)
                self._succeeded(None, invocation)
                return None
        except BaseException:
            self._failed(Failure(), invocation)
            return None
        result.addCallback(partial(self._replies.give, invocation))
        result.addCallback(self._succeeded, invocation)
        result.addErrback(self._failed, invocation)
        return result

    def _not_split(self, failure: Failure, invocation: Invocation) -> str:
        """Return the reply to invalid arguments. An exception that isn't in `_ABOUT_ARGUMENTS` is logged."""
        summary = "Sorry, I couldn't parse your arguments"
        text = f"{summary}. {failure_text(failure)}"
        if failure.check(*_ABOUT_ARGUMENTS):
            return masker(text)
        return self._replies.faulty(failure, invocation, text, summary)

    def _failed(self, failure: Failure, invocation: Invocation) -> None:
        self.outcomes["rejected" if failure.check(CommandError) else "failed"] += 1
        self._replies.failed(failure, invocation)

    def _succeeded(self, _: Any, invocation: Invocation) -> None:
        self.outcomes["succeeded"] += 1
        self._flows.done(invocation.message, invocation.command)
