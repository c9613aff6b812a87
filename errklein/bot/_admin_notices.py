"""Notices to administrators."""

from __future__ import annotations

from twisted.logger import Logger

from errklein.chat import Message
from errklein.dispatch import Disclosure, Networks
from errklein.dispatch.disclosure import new_error_id, with_id
from errklein.dispatch.replies import Deliver
from errklein.ports import Backend, CallsInOrder
from errklein.text import plain
from errklein.text.masking import masker


class AdminNotices:
    """Sends notices to everybody in BOT_ADMINS_NOTIFICATIONS of each network, and to the log. From any thread."""

    log = Logger()

    def __init__(self, networks: Networks, deliver: Deliver, disclosure: Disclosure) -> None:
        self._networks = networks
        self._deliver = deliver
        self._disclosure = disclosure

    def warn_admins(self, warning: str) -> None:
        """Send a text, which is Markdown."""
        self._notify(warning, masker.known(warning))

    def tell_admins(self, text: str, summary: str = "") -> None:
        """Send plain text such as paths and error messages, which is not read as Markdown. Secrets are masked.

        Pass a `summary` if the text contains an exception's text. Rooms, and people who aren't known to be administrators,
        then get the summary and an error id, and the text is logged with that id.
        """
        text = masker(text)
        if not summary:
            self._notify(text, plain(text))
            return
        error_id = new_error_id()
        self._notify(with_id(text, error_id), plain(text), plain(with_id(summary, error_id)))

    def _notify(self, text: str, notice: str, summary: str = "") -> None:
        self.log.warn("Admins are told: {text}", text=text)
        for backend in self._networks.backends.values():
            for admin in tuple(self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS):
                try:
                    # Some networks have to ask a server for the identifier.
                    if isinstance(backend, CallsInOrder):
                        details = (backend, admin, notice, summary)
                        backend.call_in_order(self._send, *details, recipient=str(admin), text=text)
                    else:
                        self._send(backend, admin, notice, summary)
                except Exception as error:
                    self._not_sent(backend, admin, error)

    def _send(self, backend: Backend, admin: str, notice: str, summary: str) -> None:
        try:
            recipient = backend.build_identifier(admin)
            if summary and not self._disclosure.is_admin(backend, recipient):
                notice = summary
            self._deliver(backend, Message(notice, frm=backend.bot_identifier, to=recipient))
        except Exception as error:
            self._not_sent(backend, admin, error)

    def _not_sent(self, backend: Backend, admin: str, error: Exception) -> None:
        self.log.warn(
            "{admin} on {network} could not be told: {error}", admin=admin, network=backend.network, error=str(error)
        )
