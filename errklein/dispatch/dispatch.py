"""The parts of dispatch, connected."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from errklein.chat import Identifier, Message
from errklein.chat.names import EXACT
from errklein.commands import CommandRegistry
from errklein.commands.history import History
from errklein.commands.registry import FilterRegistry
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.disclosure import Disclosure
from errklein.dispatch.dispatcher import Dispatcher, WhenSettled
from errklein.dispatch.execution import Execution
from errklein.dispatch.filters import Filtering
from errklein.dispatch.finding import CommandFinder
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.dispatch.networks import Networks
from errklein.dispatch.permissions import Permissions
from errklein.dispatch.replies import Replies
from errklein.dispatch.unknown_commands import UnknownCommands
from errklein.ports import Backend, HasNameRules
from errklein.running import KeyedQueues, PooledRunner, ThreadWaits, result_within

LONGEST_RELOAD = 10.0
"""Seconds that a message waits for a plugin that is being reloaded, before its command counts as unknown."""


class MessageSender(Protocol):
    """The part of the bot that sends messages, in any thread."""

    def deliver(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Send a message on a network."""

    def send(self, identifier: Identifier, text: str) -> Awaitable[None] | None:
        """Send Markdown text to a person or room."""


@dataclass(frozen=True)
class CodeRunners:
    """How plugins' code runs: commands, and all else such as filters and callbacks, which queue by plugin."""

    commands: PooledRunner
    others: PooledRunner
    queues: KeyedQueues
    waits: ThreadWaits


@dataclass(frozen=True)
class Registries:
    """The commands and filters of active plugins."""

    commands: CommandRegistry
    filters: FilterRegistry


class Dispatch:
    """Creates the parts that lead from a message to its reply, and connects them. `histories` are by network.

    `when_settled` returns what fires when the commands of a plugin that is being reloaded are there again; None if no plugin
    is being reloaded.
    """

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        registries: Registries,
        code: CodeRunners,
        sender: MessageSender,
        when_settled: WhenSettled,
    ) -> None:
        self.histories = {network: History(partial(_folded, backend)) for network, backend in networks.backends.items()}
        self.disclosure = Disclosure(networks)

        def wait_for(awaitable: Awaitable[Any]) -> Any:
            return code.waits.result_of(code.commands.runner.result_of, awaitable)

        def settled_in_time() -> Deferred[Any] | None:
            settled = when_settled()
            return None if settled is None else result_within(reactor, LONGEST_RELOAD, settled)

        commands = registries.commands
        replies = Replies(networks, sender.deliver, self.disclosure, wait_for)
        filtering = Filtering(registries.filters, code.others, code.queues)
        self.conversations = Conversations(reactor, networks, replies)
        self.flow_executor = FlowExecutor(reactor, networks, commands, code.commands, sender.send, self.disclosure)
        self.permissions = Permissions(networks, commands, filtering, replies)
        self.unknown_commands = UnknownCommands(networks, commands, self.permissions, filtering, replies)
        self.finder = CommandFinder(networks, commands, self.histories)
        self.execution = Execution(reactor, networks, self.histories, code.commands, replies, self.flow_executor)
        self.dispatcher = Dispatcher(
            self.finder,
            self.conversations,
            self.permissions,
            self.execution,
            self.unknown_commands,
            settled_in_time,
        )

    def when_idle(self) -> list[Deferred[None]]:
        """Fire when every message has its reply, and when every flow waits for somebody's command."""
        return [self.dispatcher.when_idle(), self.flow_executor.when_idle()]


def _folded(backend: Backend, name: str) -> str:
    """The folded form of a name on the network."""
    return (backend.name_rules if isinstance(backend, HasNameRules) else EXACT).fold(name)
