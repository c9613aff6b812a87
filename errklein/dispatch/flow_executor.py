"""Execution of flows: a command starts or advances a flow, and the flow runs the next commands whose predicates are true."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Room, RoomOccupant
from errklein.chat.handles import MessageRef
from errklein.commands import Caller, CommandError, CommandRegistry, RegisteredCommand, check_access
from errklein.commands.flows import FLOW_END, Flow, FlowNode, FlowRoot, never
from errklein.dispatch._networks import Networks
from errklein.dispatch.conversations import Conversations, QuestionWithdrawn
from errklein.dispatch.replies import DetailedError, Disclosure, refused
from errklein.ports.chat import Backend
from errklein.ports.receipts import Receipt
from errklein.running import InFlightCounter, PoolStopped, Runner, on_reactor_soon
from errklein.running.context import assigned, handled_network, origin, person_origin, running_command
from errklein.text import plain
from errklein.text.errors import error_text, one_line
from errklein.text.masking import masker

Questions = dict[tuple[str, str], dict[str, Any]]

MOST_AUTOSTEPS = 100  # the steps that a flow takes by itself in a row before it is ended, since it may be endless
MOST_IN_FLIGHT = 1_000  # the flows in progress before the oldest is ended: people abandon most of so many

_Outcome = Enum("_Outcome", "DONE FAILED REFUSED")  # the outcome of a step that a flow takes by itself


class FlowExecutor:
    """Registers flows and runs them. `flow_roots` has their graphs by name. Methods may be called in any thread."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        registry: CommandRegistry,
        runner: Runner,
        send: Callable[[Identifier, str], object],
        disclosure: Disclosure,
        conversations: Conversations,
        run: Callable[[Backend, Message], object],
    ) -> None:
        self.flow_roots: dict[str, FlowRoot] = {}
        self.in_flight: list[Flow] = []
        self._reactor, self._networks, self._registry, self._runner = reactor, networks, registry, runner
        self._send, self._disclosure, self._conversations, self._run = send, disclosure, conversations, run
        self._questions: Questions = {}  # the open questions as they are stored, by network and requestor
        self._store: Callable[[Questions], object] = lambda questions: None
        self._lock = threading.RLock()
        self._in_flight_steps = InFlightCounter()
        # The flows that are taking steps by themselves, and whether a person has taken a step meanwhile.
        self._advancing: dict[Flow, bool] = {}

    def when_idle(self) -> Deferred[None]:
        return self._in_flight_steps.when_none()

    # Registration

    def add_flow(self, flow: FlowRoot) -> None:
        """Register the flow. Raises ValueError if there is a flow with that name."""
        with self._lock:
            if flow.name in self.flow_roots:
                raise ValueError(f"there is already a flow named {flow.name}")
            self.flow_roots[flow.name] = flow
        on_reactor_soon(self._reactor, self._resume, flow)

    def remove_flow(self, flow: FlowRoot) -> None:
        with self._lock:
            if self.flow_roots.get(flow.name) is flow:
                del self.flow_roots[flow.name]
            for other in self.in_flight:
                if other.root is flow:
                    self._end(other)

    # Flows in progress

    def flow_of(self, requestor: Identifier) -> Flow | None:
        """Return the flow in progress of a person, or of the room that an occupant is in, or None."""
        return next((flow for flow in list(self.in_flight) if flow.check_identifier(requestor)), None)

    def start_flow(self, name: str, requestor: Identifier, initial_context: Mapping[str, Any]) -> Flow:
        """Start the flow with that name for `requestor`, or for the requestor's room if it is a room flow. Raises
        ValueError if the flow is unknown, or if the requestor is already in a flow."""
        with self._lock:
            if (root := self.flow_roots.get(name)) is None:
                raise ValueError(f"Flow {name} doesn't exist")
            if refusal := self.refusal(root, requestor):
                raise ValueError(refusal)
            flow = self._begin(root, requestor, initial_context)
        on_reactor_soon(self._reactor, self._continue, flow)
        return flow

    def refusal(self, root: FlowRoot, requestor: Identifier) -> str:
        """Return the reason why `requestor` can't start the flow now, or ""."""
        whose = _owner(root, requestor)
        flow = self.flow_of(whose)
        return "" if flow is None else f"{whose} is already running a flow, {flow.name}."

    def stop_flow(self, name: str, requestor: Identifier) -> Flow | None:
        """End the flow with that name for `requestor`, and return it, or None if the requestor isn't in it."""
        with self._lock:
            for flow in self.in_flight:
                if flow.name == name and flow.check_identifier(requestor):
                    self._end(flow)
                    return flow
        return None

    def trigger(self, cmd: str, requestor: Identifier, extra_context: Mapping[str, Any] | None = None) -> Flow | None:
        """Advance the flow of `requestor`, or start one that the command triggers, after the command has succeeded.
        `extra_context` is added to the flow's context. Returns the flow, or None if the command is a step of none."""
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
        on_reactor_soon(self._reactor, self._continue, flow)
        return flow

    # Calls of the dispatcher

    def enter(self, message: Message, command: RegisteredCommand) -> bool:
        """Set the flow of the message if its command is the next step of one. Return False for another flow-only command."""
        flow = None if message.frm is None else self.flow_of(message.frm)
        if flow is not None and flow.next_step(command.name) is not None:
            message.flow = flow
            return True
        return not command.declaration.flow_only

    def done(self, message: Message, command: RegisteredCommand) -> None:
        # Most commands belong to no flow, and shouldn't take the lock.
        if message.frm is not None and (self.in_flight or self.flow_roots):
            self.trigger(command.name, message.frm, message.ctx)

    # Questions

    def restore(self, questions: Questions, store: Callable[[Questions], object]) -> None:
        """Go on with the open questions of an earlier process when their flows are registered, and store others."""
        self._questions, self._store = dict(questions), store

    async def _ask(self, flow: Flow) -> None:
        """Ask the question of the current step: the requestor where the flow was started, or the room of a room's flow."""
        here, requestor, ctx = flow.current_step, flow.requestor, ""
        try:
            text = here.question if isinstance(here.question, str) else await self._runner.run(here.question, flow.ctx)
        except PoolStopped:
            raise
        except Exception as error:
            self._report_failed_call(flow, f"question after the step {here}", error)
            return
        with suppress(TypeError, ValueError):
            ctx = json.dumps(flow.ctx)
        if not ctx or json.loads(ctx) != flow.ctx:
            self.log.info("A question of the flow {flow} ends with the bot: its context isn't JSON", flow=flow.name)
            ctx = ""
        if flow in self.in_flight and flow.current_step is here:
            question = {"flow": flow.name, "step": flow.root.steps().index(here), "command": here.command, "ctx": ctx}
            question |= {"requestor": str(requestor), "name": str(getattr(requestor, "aclattr", "")), "sent": ()}
            self._open(flow, question | {"text": text, "labels": list(here.choices)})

    def _open(self, flow: Flow, question: dict[str, Any]) -> None:
        Deferred.fromCoroutine(self._wait_for_choice(flow, question)).addErrback(self._stopped, flow)

    async def _wait_for_choice(self, flow: Flow, question: dict[str, Any]) -> None:
        """Send a question, unless an earlier process has sent it, and store it until it ends. Then run the command of the chosen step as
        if the person had typed it, or end the flow."""
        requestor, here, backend = flow.requestor, flow.current_step, self._backend_of(flow, flow.requestor)
        to = requestor.room if isinstance(requestor, RoomOccupant) else requestor
        asked = Message(question["text"], backend.bot_identifier, to)
        asked.choices, key, sent = tuple(question["labels"]), (backend.network, str(requestor)), None
        if question["sent"]:
            handle, *refs = question["sent"]
            sent = Receipt(handle)
            sent.refs = [MessageRef(*ref) for ref in refs]

        def permits(by: Identifier) -> bool:
            # An identifier that is made from a stored name equals everybody who has taken that name since.
            is_named = isinstance(requestor, Room) or question["name"] in ("", str(getattr(by, "aclattr", "")))
            return is_named and flow in self.in_flight and flow.check_identifier(by)

        def store(*, is_open: bool = True, sent: Sequence[Any] = ()) -> None:
            if self._questions.get(key) is question:
                question["sent"] = sent or question["sent"]
                if not is_open:
                    del self._questions[key]
                stored = maybeDeferred(self._store, dict(self._questions))
                stored.addErrback(lambda failure: self.log.failure("Questions of flows can't be stored", failure))

        if question["ctx"]:
            self._questions[key] = question
        asking = self._conversations.offer(flow, backend, asked, permits, sent=sent)
        store()
        if sent is None and (new := asking.sent) is not None:
            new.watch().addCallbacks(lambda _: store(sent=[str(new), *map(tuple, new.refs)]), lambda _: None)
        try:
            choice = await asking
        except Exception as error:
            # Not if the bot stops, when the coroutine is closed.
            store(is_open=False)
            if isinstance(error, QuestionWithdrawn):
                return
            raise
        store(is_open=False)
        if flow not in self.in_flight or flow.current_step is not here:
            return
        if (step := here.choices[choice]) is FLOW_END:
            self._end(flow)
            return
        typed = Message(frm=choice.by, to=to if asked.is_group else backend.bot_identifier)
        message, whose = (choice.message or typed).clone(), person_origin(backend.network, choice.by)
        message.body = self._networks.config(backend).BOT_PREFIX + str(step).replace("_", " ")
        with assigned(handled_network, backend.network), assigned(running_command, None), assigned(origin, whose):
            self._run(backend, message)

    def _resume(self, root: FlowRoot) -> None:
        for key, question in [one for one in self._questions.items() if one[1]["flow"] == root.name]:
            del self._questions[key]
            try:
                step, build = root.steps()[question["step"]], self._networks.backends[key[0]].build_identifier
                if (step.command, list(step.choices)) != (question["command"], question["labels"]):
                    raise LookupError("the flow has changed")
                flow = Flow(root, build(question["requestor"]), json.loads(question["ctx"]), step)
            except (LookupError, ValueError) as error:
                self.log.warn("A question of the flow {flow} ends: {error}", flow=root.name, error=str(error))
                continue
            with self._lock:
                self.in_flight = [*self.in_flight, flow]
            self._open(flow, question)

    # Steps

    def _begin(self, root: FlowRoot, requestor: Identifier, context: Mapping[str, Any]) -> Flow:
        flow = Flow(root, _owner(root, requestor), context)
        flow.moved_by = requestor
        self.in_flight = [*self.in_flight, flow]
        for oldest in self.in_flight[:-MOST_IN_FLIGHT]:
            self._end(oldest)
        return flow

    def _begin_triggered(self, cmd: str, requestor: Identifier) -> tuple[Flow | None, FlowNode | None]:
        for root in self.flow_roots.values():
            step = root.first_step(cmd)
            if step is not None and not self.refusal(root, requestor):
                return self._begin(root, requestor, {}), step
        return None, None

    def _continue(self, flow: Flow) -> None:
        self._conversations.withdraw(flow)
        if flow in self._advancing:
            self._advancing[flow] = True
            return
        self._in_flight_steps.enter()
        # A step replies to no message, so no replies are diverted.
        backend = self._backend_of(flow, flow.moved_by)
        whose = person_origin(backend.network, flow.moved_by)
        with assigned(handled_network, backend.network), assigned(running_command, None), assigned(origin, whose):
            steps_taken = Deferred.fromCoroutine(self._take_steps(flow))
        steps_taken.addErrback(self._stopped, flow).addBoth(lambda _: self._in_flight_steps.leave())

    async def _take_steps(self, flow: Flow) -> None:
        """Take steps while their predicates are true, then send the possible next steps to the requestor."""
        self._advancing[flow] = True
        try:
            # A person may take a step meanwhile.
            while self._advancing[flow]:
                self._advancing[flow] = False
                await self._take_autosteps(flow)
        finally:
            del self._advancing[flow]
        if flow in self.in_flight and flow.current_step.choices:
            await self._ask(flow)
        else:
            self._hint(flow)

    async def _take_autosteps(self, flow: Flow) -> None:
        for _ in range(MOST_AUTOSTEPS):
            if not flow.next_steps():
                self._end(flow)
            if flow not in self.in_flight:
                return
            with self._lock:
                # Another person may advance a room's flow meanwhile; these steps still run for this mover.
                here, mover = flow.current_step, flow.moved_by
            steps = await self._true_steps(flow, here)
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
        self._send(flow.requestor, f"The flow {flow.name} was ended after {MOST_AUTOSTEPS} automatic steps.")
        self._end(flow)

    async def _true_steps(self, flow: Flow, here: FlowNode) -> list[FlowNode]:
        """Return the steps after `here` with true predicates. A predicate that raises counts as false and is reported."""
        steps = []
        for predicate, step in here.children:
            try:
                if predicate is not never and await self._runner.run(predicate, flow.ctx):
                    steps.append(step)
            except PoolStopped:
                raise
            except Exception as error:
                self._report_failed_call(flow, f"predicate of the step {step}", error)
        return steps

    def _report_failed_call(self, flow: Flow, called: str, error: Exception) -> None:
        summary = f"The {called} in the flow {flow.name} failed"
        text = f"{summary} with {type(error).__name__}: {one_line(error)}"
        self._report_failure(flow, "The {called} in the flow {flow} failed", text, summary, called=called)

    async def _take(self, flow: Flow, mover: Identifier, step: FlowNode) -> _Outcome:
        """Run the command of a step on behalf of `mover`, and report a failure or denial to the requestor."""
        command = None if step.command is None else self._registry.get(step.command)
        if command is None:
            self._send(flow.requestor, f"The flow {flow.name} can't continue: unknown command {step}.")
            return _Outcome.FAILED
        refusal = self._refusal_of_step(flow, mover, command)
        if refusal:
            self._send(flow.requestor, f'{flow} errored at {step} with "{refusal}"')
            return _Outcome.REFUSED
        # The steps of a room's flow have the room as the sender, as on errbot.
        sender = flow.requestor if isinstance(flow.requestor, Room) else mover
        message = Message("", frm=sender, to=self._listener(flow, mover), flow=flow)
        try:
            if command.yields:
                # Replies of automatic steps are discarded, as on errbot.
                await self._runner.run_generator(lambda _: None, command.handler, message, None)
            else:
                await self._runner.run(command.handler, message, None)
        except PoolStopped:
            raise
        except Exception:
            self._report_failed_step(flow, step, command, refused(Failure(), command))
            return _Outcome.FAILED
        return _Outcome.DONE

    def _report_failed_step(self, flow: Flow, step: FlowNode, command: RegisteredCommand, failure: Failure) -> None:
        error, summary = failure.value, f"{flow} errored at {step}"
        assert error is not None
        text = f'{summary} with "{error_text(error)}"'
        if isinstance(error, DetailedError):
            self._send(flow.requestor, self._disclosure.text(text, summary, self._may_read(flow)))
        elif isinstance(error, CommandError):
            self._send(flow.requestor, masker.known(text))
        else:
            event = "The command {command} of {plugin} failed as a step of the flow {flow}"
            self._report_failure(flow, event, text, summary, plugin=command.owner, command=command.name)

    def _refusal_of_step(self, flow: Flow, mover: Identifier, command: RegisteredCommand) -> str:
        """Return the reason why a step with an admin-only command is denied to `mover`, or "". It is checked, unlike others, since
        the person who starts a flow chooses its context, and so the steps it takes."""
        if not command.needs_admin:
            return ""
        if isinstance(mover, Room):
            return "This command requires bot-admin privileges"
        config = self._networks.config(self._backend_of(flow, mover))
        asked = Message("", frm=mover, to=self._listener(flow, mover))
        return check_access(command, None, Caller.from_message(asked, config), config).denial or ""

    def _stopped(self, failure: Failure, flow: Flow) -> None:
        if not failure.check(PoolStopped):
            self.log.failure("The flow {flow} can't continue", failure, flow=str(flow))

    def _end(self, flow: Flow) -> None:
        with self._lock:
            self.in_flight = [other for other in self.in_flight if other is not flow]
        on_reactor_soon(self._reactor, self._conversations.withdraw, flow)

    def _hint(self, flow: Flow) -> None:
        if flow not in self.in_flight or not flow.current_step.hints:
            return
        lines = "\n".join(f"- {self._how_to_take(step)}" for step in flow.next_steps())
        self._send(flow.requestor, f"You are in the flow **{flow.name}**, you can continue with:\n\n{lines}")

    def _how_to_take(self, step: FlowNode) -> str:
        """Return the command of the step with its syntax, or its pattern, in Markdown."""
        command = self._registry.find(step.command or "")
        prefix = self._networks.prefix
        if command is None:
            return prefix + str(step).replace("_", " ")
        declared = command.declaration
        if declared.pattern is not None:
            return (prefix if declared.prefixed else "") + plain(declared.pattern.pattern)
        return f"{prefix}{str(step).replace('_', ' ')} {declared.syntax or ''}".rstrip()

    def _report_failure(self, flow: Flow, event: str, text: str, summary: str, **details: str) -> None:
        """Log the current exception and report it to the requestor; see `Disclosure.failed`."""
        may_read, details = self._may_read(flow), {"flow": flow.name, **details}
        self._send(flow.requestor, self._disclosure.failed(Failure(), event, text, summary, may_read, **details))

    def _may_read(self, flow: Flow) -> bool:
        return self._disclosure.is_admin(self._backend_of(flow, flow.requestor), flow.requestor)

    def _listener(self, flow: Flow, mover: Identifier) -> Identifier | None:
        return flow.requestor if isinstance(flow.requestor, Room) else self._backend_of(flow, mover).bot_identifier

    def _backend_of(self, flow: Flow, mover: Identifier) -> Backend:
        """Return the mover's network, or the requestor's if a plugin created the mover without a network."""
        return self._networks.of(mover if mover.network else flow.requestor)


def _owner(root: FlowRoot, requestor: Identifier) -> Identifier:
    return requestor.room if root.room_flow and isinstance(requestor, RoomOccupant) else requestor
