"""Received stanzas: messages, corrections, retractions, reactions, presences and invitations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from errklein.chat import Attachment, Identifier, Message, Presence, Reaction, Room
from errklein.chat.handles import MessageRef
from errklein.chat.presence import AWAY, DND, OFFLINE, ONLINE
from errklein.chat.reactions import REACTION_ADDED, REACTION_REMOVED
from errklein.networks.json_client import one_line
from errklein.networks.xmpp._client import CLIENT
from errklein.networks.xmpp._rooms import USER
from errklein.networks.xmpp.identifiers import XMPPPerson, bare, split_identifier
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.networks.xmpp._backend import XMPPBackend

CORRECT, REACT, REPLY = "{urn:xmpp:message-correct:0}", "{urn:xmpp:reactions:0}", "{urn:xmpp:reply:0}"
RETRACT, MODERATE = "{urn:xmpp:message-retract:1}", "{urn:xmpp:message-moderate:1}"
STANZA_ID, OOB, FALLBACK = "{urn:xmpp:sid:0}", "{jabber:x:oob}", "{urn:xmpp:fallback:0}"

_MOST_KNOWN, _MOST_FEW = 5_000, 20  # of messages and reactions; of emoji of one person, and files of a message
_STATES = {"away": AWAY, "xa": AWAY, "dnd": DND}


class Known(NamedTuple):
    """What is to be known of a message for later ones that name it. `jid` is its author as replies name them."""

    sender: str
    ref: MessageRef
    jid: str


class Stanzas:
    """Reports what a stream receives to the bot."""

    def __init__(self, backend: XMPPBackend) -> None:
        self._backend, self._rooms = backend, backend.membership
        self.known: dict[tuple[str, str], Known] = {}
        """By room or person, and the id of the message, or the one that the room has given it."""
        self._reactions: dict[tuple[str, str, str], Sequence[str]] = {}

    @property
    def _events(self) -> Any:
        return self._backend.events

    def know(self, known: Known, *ids: str) -> None:
        self.known.update({(known.ref.room, one): known for one in ids if one})
        while len(self.known) > _MOST_KNOWN:
            del self.known[next(iter(self.known))]

    def receive(self, stanza: Element) -> None:
        """Handle a message or presence of any kind."""
        kind, bot = stanza.get("type", ""), self._backend.bot_identifier
        try:
            node, domain, nick = split_identifier(stanza.get("from", ""))
        except ValueError:
            return
        name, person = f"{node}@{domain}", XMPPPerson(node, domain, nick, self._backend.network)
        is_here, is_room = name in self._rooms.states, self._rooms.is_room(name)
        if stanza.tag == f"{CLIENT}presence" and is_here:
            self._rooms.presence(name, nick or "", stanza)
        elif stanza.tag == f"{CLIENT}presence":
            if kind in ("", "unavailable") and name != self._backend.jid:
                shown = OFFLINE if kind else _STATES.get(stanza.findtext(f"{CLIENT}show") or "", ONLINE)
                status = one_line(stanza.findtext(f"{CLIENT}status")) or None
                self._events.presence_changed(self._backend, Presence(person, shown, status))
        elif kind == "error":
            self._backend.refused(name, stanza)
        elif kind == "groupchat" and is_here:
            self._in_room(name, nick or "", stanza)
        elif kind not in ("groupchat", "headline") and not self._is_invitation(name, is_room, stanza):
            frm = self._rooms.occupant(name, nick) if is_room and is_here and nick else person
            if frm is not person or not is_room:
                self._handle(stanza, frm, bot, frm.person)

    def _in_room(self, name: str, nick: str, stanza: Element) -> None:
        subject, retraction = stanza.find(f"{CLIENT}subject"), stanza.find(f"{RETRACT}retract")
        ids = (one.get("id", "") for one in stanza.iter(f"{STANZA_ID}stanza-id") if one.get("by") == name)
        given, is_own = next(filter(_is_id, ids), ""), nick == self._rooms.states[name].nick
        if is_own:
            self._backend.arrived(name, stanza.get("id", ""), given)
        if subject is not None and stanza.find(f"{CLIENT}body") is None:
            self._rooms.topic_changed(name, subject.text or "")
        elif nick and not is_own:
            self._handle(stanza, self._rooms.occupant(name, nick), self._rooms.room(name), name, given)
        elif retraction is not None and retraction.find(f"{MODERATE}moderated") is not None and not nick:
            known = self.known.get((name, retraction.get("id", "")))
            if known is not None:
                self._events.message_deleted(self._backend, known.ref, None)

    def _handle(self, stanza: Element, frm: XMPPPerson, to: Identifier, room: str, given: str = "") -> None:
        """Report a message, or what it says about an earlier one."""
        backend, delayed, own = self._backend, _delay(stanza), stanza.get("id", "")
        own, thread = own * _is_id(own), stanza.findtext(f"{CLIENT}thread") or ""
        ref = MessageRef(backend.network, room, given or own, thread * _is_id(thread))
        # Clients may use an id again; rooms and servers that repeat messages don't.
        is_new = backend.seen.is_new(f"{room} {ref.id}" if ref.id else "")
        # Nobody wants to know what was said before the bot was in the room the first time.
        is_old = delayed and isinstance(to, Room) and delayed < backend.away_since
        if is_old or (not is_new and (given or delayed)):
            return
        backend.seen.position = backend.context.now()
        names = (f"{REACT}reactions", f"{RETRACT}retract", f"{CORRECT}replace")
        reactions, retraction, correction = map(stanza.find, names)
        target = next((one.get("id", "") for one in (reactions, retraction, correction) if one is not None), "")
        known = self.known.get((room, target))
        is_own = known is not None and known.sender == frm.aclattr
        if reactions is not None:
            if _is_id(target) and not delayed:
                self._reacted(reactions, frm, known or Known("", ref._replace(id=target, thread=""), ""))
        elif retraction is not None:
            if known is not None and is_own:
                self._events.message_deleted(backend, known.ref, frm)
        elif (message := self._message(stanza, frm, to)) is not None:
            if known is not None and is_own:
                ref = known.ref
            elif known is None and room == frm.aclattr and _is_id(target):
                # From before a restart. In a room, somebody else may have said it.
                ref = ref._replace(id=target)
            elif correction is not None:
                return
            message.ref, message.thread = ref if ref.id else None, ref.thread
            message.sent_at, message.delayed = delayed or backend.context.now(), bool(delayed)
            message.edited = correction is not None
            if message.edited:
                self._events.message_edited(backend, message)
            else:
                self.know(Known(frm.aclattr, ref, stanza.get("from", "")), own, given)
                self._events.message_received(backend, message)

    def _message(self, stanza: Element, frm: XMPPPerson, to: Identifier) -> Message | None:
        if (body := stanza.findtext(f"{CLIENT}body")) is None:
            return None
        for fallback in stanza.iter(f"{FALLBACK}fallback"):
            part = fallback.find(f"{FALLBACK}body")
            if fallback.get("for") == REPLY[1:-1] and part is not None:
                # Clients without replies show what is replied to as a quote.
                with suppress(ValueError):
                    begin, end = (max(0, int(part.get(name, "")[:9])) for name in ("start", "end"))
                    body = body[:begin] + body[end:]
        urls = [each.findtext(f"{OOB}url") or "" for each in stanza.iter(f"{OOB}x")][:_MOST_FEW]
        # The address of a file must run no command.
        message = self._backend.build_message(sanitize(body) if body.strip() not in urls else "", frm=frm, to=to)
        files = [(one_line(unquote(url.partition("?")[0].rpartition("/")[2])) or "file", url) for url in urls]
        fetch = partial(partial, self._backend.fetch, frm.aclattr)
        message.attachments = tuple(Attachment(name, "", 0, fetch(url)) for name, url in files)
        return message

    def _reacted(self, reactions: Element, frm: XMPPPerson, known: Known) -> None:
        """Report what has changed: a person's reactions to a message replace those from before."""
        found = (one_line(one.text).removesuffix("\ufe0f") for one in reactions.iter(f"{REACT}reaction"))
        now, key = list(dict.fromkeys(filter(None, found)))[:_MOST_FEW], (known.ref.room, known.ref.id, frm.aclattr)
        before = self._reactions.pop(key, ())
        self._reactions[key] = now
        if len(self._reactions) > _MOST_KNOWN:
            del self._reactions[next(iter(self._reactions))]
        owner, at = self._backend.build_identifier(known.jid) if known.jid else None, str(self._backend.context.now())
        changes = [(REACTION_REMOVED, one) for one in before if one not in now]
        for action, emoji in changes + [(REACTION_ADDED, one) for one in now if one not in before]:
            reaction = Reaction(frm, owner, action, at, emoji, known.ref._asdict())
            self._events.reaction_changed(self._backend, reaction)

    def _is_invitation(self, name: str, is_room: bool, stanza: Element) -> bool:
        found = stanza.find(f"{USER}x/{USER}invite" if is_room else "{jabber:x:conference}x")
        if found is None:
            return False
        with suppress(ValueError):
            if not is_room:
                self._rooms.invited(bare(found.get("jid", "")), name, found.get("password", ""))
            elif by := self._rooms.vouched(name, found.get("from", "")):
                self._rooms.invited(name, by, stanza.findtext(f"{USER}x/{USER}password") or "")
        return True


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 500 and text.isprintable() and " " not in text


def _delay(stanza: Element) -> float:
    """Return the Unix time at which a message was sent that arrives late, 1.0 if that isn't known; 0.0 for others."""
    if (found := stanza.find("{urn:xmpp:delay}delay")) is None:
        return 0.0
    with suppress(ValueError, OverflowError):
        return max(datetime.fromisoformat(found.get("stamp", "")).timestamp(), 1.0)
    return 1.0
