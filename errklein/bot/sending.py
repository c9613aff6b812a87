"""What the bot says, to whom, and on which network."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, BinaryIO

from errklein.bot.callbacks import Telling
from errklein.chat import Card, Identifier, Message, Room, RoomOccupant, Stream
from errklein.dispatch.disclosure import Disclosure, new_error_id, with_id
from errklein.dispatch.dispatcher import Dispatcher
from errklein.ports import Backend, Reacts, SendsCards, SendsStreams, layers_of
from errklein.running.context import handled_network
from errklein.text.masking import masker
from errklein.text.quoting import plain


class Speaking(Telling):
    """Says things on the networks, from any thread."""

    dispatcher: Dispatcher
    disclosure: Disclosure

    @property
    def backend(self) -> Backend:
        """The network of the message, or of whatever else a network tells, that is being handled; else the first one."""
        return self.backends.get(handled_network.get()) or next(iter(self.backends.values()))

    @property
    def mode(self) -> str:
        """The kind of network of the message that is being handled, else of the first one."""
        return self.backend.mode

    @property
    def prefix(self) -> str:
        """What commands begin with, on the network of the message that is being handled."""
        prefix: str = self.bot_config.networks[self.backend.network].BOT_PREFIX
        return prefix

    @property
    def bot_alt_prefixes(self) -> tuple[str, ...]:
        """What else commands may begin with there."""
        return tuple(self.bot_config.networks[self.backend.network].BOT_ALT_PREFIXES)

    def build_message(self, text: str) -> Message:
        """A message with that text, from and to nobody yet, as that network makes them."""
        legacy = getattr(self.backend, "legacy", None)
        return Message(text) if legacy is None else legacy.build_message(text)

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot itself, on the network of the message that is being handled."""
        return self.backend.bot_identifier

    def build_identifier(self, text: str | tuple[str, str]) -> Identifier:
        """Who or what `text` names: "network:name" on that network, else on the network of the message that is being
        handled, else on the first. Of a room with its password, as CHATROOM_PRESENCE has them, the room.

        Raises ValueError if the network makes no sense of it.
        """
        if not isinstance(text, str):
            text = text[0]
        network, colon, name = text.partition(":")
        if colon and network in self.backends:
            return self.backends[network].build_identifier(name)
        return self.backend.build_identifier(text)

    def rooms(self) -> list[Room]:
        """The rooms that the bot is in, on all networks."""
        return [room for backend in self.backends.values() for room in backend.rooms()]

    def query_room(self, name: str) -> Room:
        """The room of that name; the network is chosen as in `build_identifier`."""
        network, colon, rest = name.partition(":")
        if colon and network in self.backends:
            return self.backends[network].query_room(rest)
        return self.backend.query_room(name)

    def change_presence(self, status: str, message: str) -> None:
        """Show on every network that the bot is `status`."""
        for backend in self.backends.values():
            backend.change_presence(status, message)

    def backend_of(self, identifier: Identifier) -> Backend:
        """The network that the identifier belongs to; raises ValueError if it is none of the bot's."""
        return self._backend_of(identifier.network)

    def backend_of_message(self, message: Message) -> Backend:
        """The network that the message was said on; raises ValueError if it is none of the bot's."""
        return self._backend_of(message.network)

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Awaitable[None] | None:
        """Send Markdown text, from any thread; see `BotPlugin.send`."""
        if not isinstance(identifier, Identifier):
            raise ValueError(
                f"send() needs an identifier, as build_identifier() makes of text, not {type(identifier).__name__}"
            )
        backend = self._backend_of(identifier.network)
        message = Message(text, frm=backend.bot_identifier, to=identifier, parent=in_reply_to)
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            backend.prefix_groupchat_reply(message, in_reply_to.frm)
        return self.deliver(backend, message)

    def deliver(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Hand a message to its network, from any thread, and show it to plugins."""
        accepted = backend.send_message(message)
        self._show_plugins(backend, message)
        return accepted

    def send_simple_reply(
        self, message: Message, text: str, private: bool = False, threaded: bool = False
    ) -> Awaitable[None] | None:
        """Answer a message where it came from, or in private."""
        backend = self._backend_of(message.network)
        return self.deliver(backend, backend.build_reply(message, text, private, threaded))

    @staticmethod
    def process_template(
        template_name: str, template_parameters: Mapping[str, Any], plugin_name: str | None = None
    ) -> str:
        """The Markdown of a template, the plugin's own one first; see `errklein.text.templating.render`."""
        # Jinja2 takes its time to import, and not every bot has something to fill in.
        from errklein.text import templating

        return templating.render(template_name, template_parameters, plugin_name)

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
    ) -> Awaitable[None] | None:
        """Send a template filled in with the parameters, as `send` does."""
        text = self.process_template(template_name, template_parameters, plugin_name)
        return self.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def split_and_send_message(self, message: Message) -> Awaitable[None] | None:
        """Send a message that is made up already; its network cuts it into parts that it takes."""
        return self.deliver(self._backend_of(message.network), message)

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Send a card: as its network shows cards, else as text by the template "card"."""
        backend = self._backend_of(card.network)
        if isinstance(backend, SendsCards):
            accepted = backend.send_card(card)
            self._show_plugins(backend, card)
            return accepted
        text = self.process_template("card", {"card": card})
        return self.deliver(backend, Message(text, card.frm, card.to, card.parent, extras=card.extras))

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer somebody a file, from any thread; see `BotPlugin.send_stream_request`."""
        backend = self.backend_of(user)
        for carrier in layers_of(backend):
            if isinstance(carrier, SendsStreams):
                return carrier.send_stream_request(user, fsource, name, size, stream_type)
        raise NotImplementedError(f"{backend.network} can't carry files: {backend.mode} has no streams")

    def reacting(self, message: Message) -> Reacts:
        """The network of the message, which takes reactions to it; raises NotImplementedError if it knows none.

        `add_reaction` itself the bot has from its network, so that plugins can ask whether there is one.
        """
        backend = self._backend_of(message.network)
        for network in layers_of(backend):
            if isinstance(network, Reacts):
                return network
        raise NotImplementedError(f"{backend.network} has no reactions: {backend.mode} doesn't know them")

    def warn_admins(self, warning: str) -> None:
        """Send the text, which is Markdown, to everybody in BOT_ADMINS_NOTIFICATIONS of each network, and to the log."""
        self._warn(warning, masker.known(warning))

    def tell_admins(self, text: str, summary: str = "") -> None:
        """As `warn_admins`, for plain text such as paths and error messages, which is not read as Markdown.

        Pass a `summary` if the text contains an exception's text. Rooms, and people who aren't known to be administrators,
        then get the summary and an error id, and the text is logged with that id. Secrets are masked.
        """
        text = masker(text)
        if not summary:
            self._warn(text, plain(text))
            return
        error_id = new_error_id()
        self._warn(with_id(text, error_id), plain(text), plain(with_id(summary, error_id)))

    def _warn(self, text: str, warning: str, summary: str = "") -> None:
        self.log.warn("Admins are told: {text}", text=text)
        for backend in self.backends.values():
            for admin in tuple(self.bot_config.networks[backend.network].BOT_ADMINS_NOTIFICATIONS):
                # Some networks know only when they are connected who that is, and have to ask.
                in_turn = getattr(backend, "in_turn", None)
                try:
                    if in_turn is None:
                        self._tell_admin(backend, admin, warning, summary)
                    else:
                        in_turn(self._tell_admin, backend, admin, warning, summary, recipient=str(admin), text=text)
                except Exception as error:
                    self._admin_not_told(backend, admin, error)

    def _tell_admin(self, backend: Backend, admin: str, warning: str, summary: str) -> None:
        try:
            recipient = backend.build_identifier(admin)
            if summary and not self.disclosure.is_admin(backend, recipient):
                warning = summary
            self.deliver(backend, Message(warning, frm=backend.bot_identifier, to=recipient))
        except Exception as error:
            self._admin_not_told(backend, admin, error)

    def _admin_not_told(self, backend: Backend, admin: str, error: Exception) -> None:
        self.log.warn(
            "{admin} on {network} could not be told: {error}", admin=admin, network=backend.network, error=str(error)
        )

    def _backend_of(self, network: str) -> Backend:
        """The network of that name; "", as identifiers have that were made by hand, means as for a bare name."""
        if not network:
            return self.backend
        if network not in self.backends:
            raise ValueError(f"there is no network {network}, only {', '.join(self.backends)}")
        return self.backends[network]
