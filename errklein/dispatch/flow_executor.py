"""Takes people through flows: a command goes on with one or begins one, and what can go on by itself does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Room, RoomOccupant
from errklein.commands import (
    FLOW_END,
    Caller,
    CommandError,
    CommandRegistry,
    Flow,
    FlowNode,
    FlowRoot,
    RegisteredCommand,
    check_access,
    needs_admin,
    never,
)
from errklein.dispatch._networks import Networks
from errklein.dispatch.disclosure import DetailedError, Disclosure
from errklein.ports import Backend
from errklein.running import InFlightCounter, PooledRunner, PoolStopped, on_reactor_soon
from errklein.running.context import assigned, handled_network, running_command
from errklein.text import plain
from errklein.text.errors import error_text, one_line
from errklein.text.masking import masker

MOST_AUTOSTEPS = 100
"""How many steps a flow takes by itself before it is ended, since it may never stop otherwise."""

MOST_IN_FLIGHT = 1_000
"""How many flows go on at a time; then the one that began first is ended. Most of so many were left by who began them."""

_Outcome = Enum("_Outcome", "DONE FAILED REFUSED")
"""What has come of a step that a flow takes by itself."""


class FlowExecutor:
    """Keeps `flow_roots`, the flows that there are by their names, and `in_flight`, those that somebody is in.

    May be used from any thread.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        registry: CommandRegistry,
        runner: PooledRunner,
        send: Callable[[Identifier, str], object],
        disclosure: Disclosure,
    ) -> None:
        self.flow_roots: dict[str, FlowRoot] = {}
        self.in_flight: list[Flow] = []
        self._reactor = reactor
        self._networks = networks
        self._registry = registry
        self._runner = runner
        self._send = send
        self._disclosure = disclosure
        self._lock = threading.RLock()
        self._in_flight_steps = InFlightCounter()
        # Those that take steps by themselves now, and whether somebody has taken one meanwhile.
        self._going: dict[Flow, bool] = {}

    def when_idle(self) -> Deferred[None]:
        """Fires as soon as every flow waits for somebody's command."""
        return self._in_flight_steps.when_none()

    # What flows there are

    def add_flow(self, flow: FlowRoot) -> None:
        """Let the flow be begun; raises ValueError if there is one of that name."""
        with self._lock:
            if flow.name in self.flow_roots:
                raise ValueError(f"there is already a flow named {flow.name}")
            self.flow_roots[flow.name] = flow

    def remove_flow(self, flow: FlowRoot) -> None:
        """Let the flow not be begun any more, and end it for everybody who is in it."""
        with self._lock:
            if self.flow_roots.get(flow.name) is flow:
                del self.flow_roots[flow.name]
            self.in_flight = [other for other in self.in_flight if other.root is not flow]

    # Who is in them

    def flow_of(self, requestor: Identifier) -> Flow | None:
        """The flow that somebody, or the room that somebody speaks in, is in; None if there is none."""
        return next((flow for flow in list(self.in_flight) if flow.check_identifier(requestor)), None)

    def start_flow(self, name: str, requestor: Identifier, initial_context: Mapping[str, Any]) -> Flow:
        """Take `requestor` into the flow of that name, in the room that he speaks in if it is a room flow.

        Raises ValueError if there is no such flow, or if the requestor is already in one.
        """
        with self._lock:
            root = self.flow_roots.get(name)
            if root is None:
                raise ValueError(f"Flow {name} doesn't exist")
            refusal = self.refusal(root, requestor)
            if refusal:
                raise ValueError(refusal)
            flow = self._begin(root, requestor, initial_context)
        on_reactor_soon(self._reactor, self._go_on, flow)
        return flow

    def refusal(self, root: FlowRoot, requestor: Identifier) -> str:
        """Why `requestor` can't begin the flow now; "" if he can."""
        whose = _owner(root, requestor)
        flow = self.flow_of(whose)
        return "" if flow is None else f"User {whose} is already running a flow, {flow.name}."

    def stop_flow(self, name: str, requestor: Identifier) -> Flow | None:
        """End the flow of that name for `requestor`, and return it; None if he isn't in it."""
        with self._lock:
            for flow in self.in_flight:
                if flow.name == name and flow.check_identifier(requestor):
                    self._end(flow)
                    return flow
        return None

    def trigger(self, cmd: str, requestor: Identifier, extra_context: Mapping[str, Any] | None = None) -> Flow | None:
        """Tell that `requestor` has given a command with success: his flow advances, or one begins that it triggers.

        Its context gets `extra_context`. Returns the flow; None if the command has to do with none.
        """
        with self._lock:
            flow = self.flow_of(requestor)
            step = None if flow is None else flow.next_step(cmd)
            if flow is None:
                flow, step = self._begin_triggered(cmd, requestor)
            if flow is None or step is None:
                return None
            flow.ctx.update(extra_context or {})
            flow.advance(step, enforce_predicate=False)
            flow.moved_by = requestor
        on_reactor_soon(self._reactor, self._go_on, flow)
        return flow

    # What the dispatcher asks

    def enter(self, message: Message, command: RegisteredCommand) -> bool:
        """Give the message the flow that its command goes on with. False if the command may be given in a flow only."""
        flow = None if message.frm is None else self.flow_of(message.frm)
        if flow is not None and flow.next_step(command.name) is not None:
            message.flow = flow
            return True
        return not command.declaration.flow_only

    def done(self, message: Message, command: RegisteredCommand) -> None:
        """The command in the message has succeeded."""
        # Most commands have to do with no flow; they shouldn't take the lock.
        if message.frm is not None and (self.in_flight or self.flow_roots):
            self.trigger(command.name, message.frm, message.ctx)

    # How it is done

    def _begin(self, root: FlowRoot, requestor: Identifier, context: Mapping[str, Any]) -> Flow:
        flow = Flow(root, _owner(root, requestor), context)
        flow.moved_by = requestor
        self.in_flight = [*self.in_flight, flow][-MOST_IN_FLIGHT:]
        return flow

    def _begin_triggered(self, cmd: str, requestor: Identifier) -> tuple[Flow | None, FlowNode | None]:
        for root in self.flow_roots.values():
            step = root.first_step(cmd)
            if step is not None and not self.refusal(root, requestor):
                return self._begin(root, requestor, {}), step
        return None, None

    def _go_on(self, flow: Flow) -> None:
        if flow in self._going:
            self._going[flow] = True
            return
        self._in_flight_steps.enter()
        # A step answers no message, so that there is nothing to divert.
        backend = self._backend_of(flow, flow.moved_by)
        with assigned(handled_network, backend.network), assigned(running_command, None):
            going = Deferred.fromCoroutine(self._take_steps(flow))
        going.addErrback(self._stopped, flow).addBoth(lambda _: self._in_flight_steps.leave())

    async def _take_steps(self, flow: Flow) -> None:
        """Take steps for as long as their predicates hold, then tell what can be given."""
        self._going[flow] = True
        try:
            # Somebody may take a step of his own in the meantime.
            while self._going[flow]:
                self._going[flow] = False
                await self._take_autosteps(flow)
        finally:
            del self._going[flow]
        self._hint(flow)

    async def _take_autosteps(self, flow: Flow) -> None:
        for _ in range(MOST_AUTOSTEPS):
            if not flow.next_steps():
                self._end(flow)
            if flow not in self.in_flight:
                return
            with self._lock:
                # Somebody else may move a room's flow on meanwhile; what follows is still this one's doing.
                here, mover = flow.current_step, flow.moved_by
            steps = await self._steps_that_hold(flow, here)
            if FLOW_END in steps:
                self._end(flow)
                return
            outcomes = [(step, await self._take(flow, mover, step)) for step in steps]
            taken = [step for step, outcome in outcomes if outcome is not _Outcome.REFUSED]
            with self._lock:
                if taken and flow.current_step is here:
                    flow.advance(taken[0], enforce_predicate=False)
            if not steps or any(outcome is not _Outcome.DONE for _, outcome in outcomes):
                return
            await deferLater(self._reactor, 0)
        self._tell(flow, f"The flow {flow.name} has taken {MOST_AUTOSTEPS} steps by itself, and is ended.")
        self._end(flow)

    async def _steps_that_hold(self, flow: Flow, here: FlowNode) -> list[FlowNode]:
        """The steps after `here` whose predicates hold; one that raises doesn't, and the requestor is told."""
        steps = []
        for predicate, step in here.children:
            try:
                if predicate is not never and await self._runner.run(predicate, flow.ctx):
                    steps.append(step)
            except PoolStopped:
                raise
            except Exception as error:
                summary = f"The flow {flow.name} could not check the condition of {step}"
                text = f"{summary}: {type(error).__name__}: {one_line(error)}"
                self._tell_failure(
                    flow, "The flow {flow}: the predicate of {step} failed", text, summary, step=str(step)
                )
        return steps

    async def _take(self, flow: Flow, mover: Identifier, step: FlowNode) -> _Outcome:
        """Run the command of a step for who has moved the flow. If that doesn't go well, the requestor is told."""
        command = None if step.command is None else self._registry.get(step.command)
        if command is None:
            self._tell(flow, f"The flow {flow.name} can't go on: there is no command {step}.")
            return _Outcome.FAILED
        refusal = self._refusal_of_step(flow, mover, command)
        if refusal:
            self._tell(flow, f'{flow} errored at {step} with "{refusal}"')
            return _Outcome.REFUSED
        # A room's flow speaks to the room, as on errbot.
        sender = flow.requestor if isinstance(flow.requestor, Room) else mover
        message = Message("", frm=sender, to=self._listener(flow, mover), flow=flow)
        try:
            if command.yields:
                # What a step answers isn't shown.
                await self._runner.run_generator(lambda _: None, command.handler, message, None)
            else:
                await self._runner.run(command.handler, message, None)
        except PoolStopped:
            raise
        except Exception as error:
            self._tell_failed_step(flow, step, command, error)
            return _Outcome.FAILED
        return _Outcome.DONE

    def _tell_failed_step(self, flow: Flow, step: FlowNode, command: RegisteredCommand, error: Exception) -> None:
        summary = f"{flow} errored at {step}"
        text = f'{summary} with "{error_text(error)}"'
        if isinstance(error, DetailedError):
            self._tell(flow, self._disclosure.text(text, summary, self._may_read(flow)))
        elif isinstance(error, CommandError):
            self._tell(flow, masker.known(text))
        else:
            event = "{plugin}: {command} failed as a step of the flow {flow}"
            self._tell_failure(flow, event, text, summary, plugin=command.owner, command=command.name)

    def _refusal_of_step(self, flow: Flow, mover: Identifier, command: RegisteredCommand) -> str:
        """Why a command that is for administrators isn't run for who has moved the flow; "" if it is.

        Other access rules don't apply to what a flow does by itself. But whoever begins one may give it any context, and
        so decides what it does.
        """
        if not needs_admin(command):
            return ""
        if isinstance(mover, Room):
            return "This command requires bot-admin privileges"
        config = self._networks.config(self._backend_of(flow, mover))
        asked = Message("", frm=mover, to=self._listener(flow, mover))
        return check_access(command, None, Caller.from_message(asked, config), config).denial or ""

    def _stopped(self, failure: Failure, flow: Flow) -> None:
        if not failure.check(PoolStopped):
            self.log.failure("The flow {flow} can't go on", failure, flow=str(flow))

    def _end(self, flow: Flow) -> None:
        with self._lock:
            self.in_flight = [other for other in self.in_flight if other is not flow]

    def _hint(self, flow: Flow) -> None:
        """Tell the requestor what he can go on with."""
        if flow not in self.in_flight or not flow.current_step.hints:
            return
        lines = [f"- {self._how_to_take(step)}" for step in flow.next_steps()]
        self._tell(flow, "\n".join([f"You are in the flow **{flow.name}**, you can continue with:", "", *lines]))

    def _how_to_take(self, step: FlowNode) -> str:
        """What is to be said, in Markdown: the command and its syntax, or the pattern that is waited for."""
        command = self._registry.find(step.command or "")
        prefix = self._networks.prefix
        if command is None:
            return prefix + str(step).replace("_", " ")
        declared = command.declaration
        if declared.pattern is not None:
            return (prefix if declared.prefixed else "") + plain(declared.pattern.pattern)
        return f"{prefix}{str(step).replace('_', ' ')} {declared.syntax or ''}".rstrip()

    def _tell(self, flow: Flow, text: str) -> None:
        self._send(flow.requestor, text)

    def _tell_failure(self, flow: Flow, event: str, text: str, summary: str, **details: str) -> None:
        """Log the exception being handled, and report it to the requestor; see `Disclosure.failed`."""
        reply = self._disclosure.failed(
            Failure(), event, text, summary, self._may_read(flow), flow=flow.name, **details
        )
        self._tell(flow, reply)

    def _may_read(self, flow: Flow) -> bool:
        return self._disclosure.is_admin(self._backend_of(flow, flow.requestor), flow.requestor)

    def _listener(self, flow: Flow, mover: Identifier) -> Identifier | None:
        """To whom the commands of the flow are said: the room that it belongs to, or the bot."""
        return flow.requestor if isinstance(flow.requestor, Room) else self._backend_of(flow, mover).bot_identifier

    def _backend_of(self, flow: Flow, mover: Identifier) -> Backend:
        """The network that the flow was moved on. Plugins begin flows for people who don't know their network."""
        return self._networks.of(mover if mover.network else flow.requestor)


def _owner(root: FlowRoot, requestor: Identifier) -> Identifier:
    """Whose flow it is: the room's, if it is a room flow."""
    return requestor.room if root.room_flow and isinstance(requestor, RoomOccupant) else requestor
