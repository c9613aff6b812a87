"""Posts GitHub's events to chat rooms, one line for each event."""

import json

from flask import abort, request

from errklein import BotPlugin, webhook

LONGEST_NAME = 100


class GitHub(BotPlugin):
    """Receives GitHub's webhooks at /github, in either of GitHub's content types."""

    @webhook("/github", methods=["POST"])
    def github(self, payload):
        """Post one line about the event to each room of CHATROOM_PRESENCE."""
        event = request.headers.get("X-GitHub-Event")
        if not event:
            abort(400, "The header X-GitHub-Event is missing.")
        if request.mimetype != "application/json":
            payload = event_in_form(payload)
        if not isinstance(payload, dict):
            abort(400, "The payload must be a JSON object.")
        line = describe(event, payload)
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), line)


def event_in_form(fields):
    """Return the event from a form's field `payload`, GitHub's format for application/x-www-form-urlencoded."""
    try:
        return json.loads(fields["payload"])
    except (KeyError, TypeError, ValueError):
        abort(400, "The form must have a field 'payload' with JSON.")


def describe(event, payload):
    """Return the event as a line of Markdown: event, action, repository and sender."""
    line = name(event)
    if payload.get("action"):
        line += f" {name(payload['action'])}"
    place = name_in(payload, "repository", "full_name") or name_in(payload, "organization", "login")
    sender = name_in(payload, "sender", "login")
    if place:
        line += f" in {place}"
    if sender:
        line += f" by {sender}"
    return line


def name_in(payload, part, key):
    """Return the name of a part of the payload, or None if it is missing."""
    found = payload.get(part)
    return name(found[key]) if isinstance(found, dict) and found.get(key) else None


def name(text):
    """Return the text in backticks, so that Markdown in it is shown as it is; in one line, and shortened."""
    text = " ".join(str(text).split()).replace("`", "'")
    if len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + "…"
    return f"`{text}`"
