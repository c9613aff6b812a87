"""Sends notices to administrators in chat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot._missed_notices import MOST, MissedNotices
from errklein.bot._notice_fallback import Notice, NoticeFallback
from errklein.chat import Identifier, Message, Person, matches_any, rules_of
from errklein.dispatch import Disclosure, Networks
from errklein.dispatch.replies import Deliver
from errklein.ports import Backend, CallsInOrder, KnowsHolders, QueuesMessages, SentLater
from errklein.running import on_reactor_soon


class NoticeSender:
    """Sends notices to the recipients in BOT_ADMINS_NOTIFICATIONS of each network.

    `send` may be called from any thread. A notice that can't be sent to one recipient is logged, and the others get it. The
    person gets it as soon as `person_seen` is called.

    :param missed: Keeps the notices that a person has missed: the network rejected the message, or it has no reliable names
        and the recipient isn't known to be an administrator.
    :param fallback: Gets all notices, and passes on those that reach nobody.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        deliver: Deliver,
        disclosure: Disclosure,
        missed: MissedNotices,
        fallback: NoticeFallback,
    ) -> None:
        self._reactor = reactor
        self._networks = networks
        self._deliver = deliver
        self._disclosure = disclosure
        self._missed = missed
        self._fallback = fallback

    def person_seen(self, backend: Backend, person: Identifier | None) -> None:
        """Send the notices that the person has missed, if a message to the person reaches an administrator now."""
        recipients = self._missed.recipients(backend.network)
        if not recipients or not isinstance(person, Person) or not self._disclosure.is_admin(backend, person):
            return
        names = {str(person), str(person.person), str(person.nick), str(person.aclattr)}
        for admin in recipients:
            if any(matches_any(rules_of(person), name, (admin,)) for name in names):
                self._send_missed(backend, admin, person)

    def _send_missed(self, backend: Backend, admin: str, person: Person) -> None:
        notices = self._missed.take(backend.network, admin)
        older = "; older ones are in the log" if len(notices) == MOST else ""
        lines = [f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}: {text}" for at, text in notices]
        body = "\n\n".join([f"Notices that you may have missed{older}:", *lines])
        keep = partial(self._missed.keep, backend.network, admin, notices)
        try:
            sent = self._deliver(backend, _notice_to(backend, person, body)) if notices else None
        except Exception as error:
            self._not_sent(backend, admin, error)
            keep()
            return
        if isinstance(sent, Deferred):
            sent.addCallbacks(lambda _: self._missed.changed(), partial(_unless_stored, keep))
        else:
            self._missed.changed()

    def send(self, notice: Notice) -> None:
        """Send a notice."""
        self._fallback.expect(notice)
        for backend in self._networks.backends.values():
            for admin in tuple(self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS):
                try:
                    # On some networks, build_identifier waits for a server.
                    if isinstance(backend, CallsInOrder):
                        looking_up = backend.call_in_order(
                            self._address, backend, admin, notice, recipient=str(admin), text=notice.text, priority=True
                        )
                        if isinstance(looking_up, Deferred):
                            # The network was away until the bot has stopped, or for too long.
                            keep = partial(self._missed.add, backend.network, admin, notice.markdown)
                            looking_up.addErrback(partial(_unless_stored, keep))
                    else:
                        self._address(backend, admin, notice)
                except Exception as error:
                    self._not_sent(backend, admin, error, notice.markdown)

    def _address(self, backend: Backend, admin: str, notice: Notice) -> None:
        """Send the notice, or its summary, to the recipient of that name. May be called in any thread."""
        try:
            recipient = backend.build_identifier(admin)
            is_admin = self._disclosure.is_admin(backend, recipient)
        except Exception as error:
            self._not_sent(backend, admin, error, notice.markdown)
            return
        text = notice.summary if notice.summary and not is_admin else notice.markdown
        message = _notice_to(backend, recipient, text)
        is_reliable = is_admin or not isinstance(backend, KnowsHolders)
        send = partial(self._send, backend, admin, message, notice, is_reliable)
        if isinstance(backend, (CallsInOrder, QueuesMessages)):
            # On the reactor, the result shows whether the network has taken the message.
            on_reactor_soon(self._reactor, send)
        else:
            # In this thread, so that it isn't overtaken by the thread's next messages.
            send()

    def _send(self, backend: Backend, admin: str, message: Message, notice: Notice, is_reliable: bool) -> None:
        keep = partial(on_reactor_soon, self._reactor, self._missed.add, backend.network, admin, notice.markdown)
        try:
            sent = self._deliver(backend, message)
        except Exception as error:
            self._not_sent(backend, admin, error, notice.markdown)
            return
        if isinstance(message.to, Person) and not is_reliable:
            keep()
            return
        if not isinstance(sent, Deferred):
            sent = succeed(None)
        if backend.mode != "null":
            sent.addCallback(lambda _: setattr(notice, "reached", True))
        if isinstance(message.to, Person):
            sent.addErrback(partial(_unless_stored, keep))

    def _not_sent(self, backend: Backend, admin: str, error: Exception, notice: str = "") -> None:
        """Log the error, and keep the notice if there is one."""
        self.log.warn(
            "Could not notify {admin} on {network}: {error}", admin=admin, network=backend.network, error=str(error)
        )
        if notice:
            on_reactor_soon(self._reactor, self._missed.add, backend.network, admin, notice)


def _notice_to(backend: Backend, recipient: Identifier, text: str) -> Message:
    message = Message(text, frm=backend.bot_identifier, to=recipient)
    message.priority = True
    return message


def _unless_stored(keep: Callable[[], object], failure: Failure) -> None:
    """Keep a notice that was not sent, unless the outbox sends it after the next start."""
    if not failure.check(SentLater):
        keep()
