"""Notices to administrators, sent in chat and written to the log."""

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
    """Sends notices to the recipients in BOT_ADMINS_NOTIFICATIONS of each network, and logs them.

    The methods may be called from any thread. A notice that can't be sent to one recipient is logged, and the others get it.
    """

    log = Logger()

    def __init__(self, networks: Networks, deliver: Deliver, disclosure: Disclosure) -> None:
        self._networks = networks
        self._deliver = deliver
        self._disclosure = disclosure

    def warn_admins(self, warning: str) -> None:
        """Send a notice in Markdown."""
        self._notify(warning, masker.known(warning))

    def tell_admins(self, text: str, summary: str = "") -> None:
        """Send a notice in plain text, such as a path or an error message. Secrets are masked.

        :param text: The notice. Characters that have a meaning in Markdown are escaped.
        :param summary: A sentence without an exception's text; required if `text` contains one. Rooms, and people who
            aren't known to be administrators, get the summary and an error id. The log has the text with the same id.
        """
        text = masker(text)
        if not summary:
            self._notify(text, plain(text))
            return
        error_id = new_error_id()
        self._notify(with_id(text, error_id), plain(text), plain(with_id(summary, error_id)))

    def _notify(self, text: str, notice: str, summary: str = "") -> None:
        self.log.warn("Notifying administrators: {text}", text=text)
        for backend in self._networks.backends.values():
            for admin in tuple(self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS):
                try:
                    # On some networks, build_identifier waits for a server.
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
            "Could not notify {admin} on {network}: {error}", admin=admin, network=backend.network, error=str(error)
        )
