import re
from urllib.parse import quote

from errklein.chat import Message, RoomDoesNotExistError, UserDoesNotExistError
from errklein.chat.features import Features
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Post, React
from errklein.config.networks import IdentityKey, Network, NetworkSettings, check_text
from errklein.networks.base import ConnectedNetwork, LocalOccupant, LocalPerson, NamedRoom
from errklein.networks.errors import RequestRefused, Unusable

FEATURES = Features(size=2_000, threads=True, edits=True, deletions=True, reactions=True, mentions=True)


def read_failure(status, headers, body):
    return Unusable("the server refuses the token") if status == 401 else None


class ParleyNetwork(ConnectedNetwork):
    mode = "parley"
    window = 16
    joins_configured_rooms = True

    def __init__(self, context):
        super().__init__(context)
        identity = NETWORK.settings.read_identity(context.config.BOT_IDENTITY)
        self.http = context.http(identity["server"], {"Authorization": f"Bearer {identity['token']}"}, read_failure)
        self.is_encrypted = identity["server"].startswith("https:")
        self.seen = context.seen("events")

    async def session(self):
        me = await self.http.call("GET", "me")
        self.bot_identifier = self.person(me["user"])
        self.joined_rooms = [NamedRoom(name, self.network) for name in me["rooms"]]
        # The first time, old messages are skipped.
        position = self.seen.position or await self.seen.load() or me["latest"]
        self.connection.connected()
        while True:
            found = await self.http.call("GET", "events", params={"after": str(position)}, timeout=45)
            self.seen.position = position = found["latest"]
            await self.seen.flush()
            for event in found["events"]:
                if self.seen.is_new(event["id"]):
                    self.receive(event)

    def receive(self, event):
        room = NamedRoom(event["room"], self.network) if event["room"] else None
        sender = self.person(event["user"], event["name"], room)
        ref = MessageRef(self.network, event["room"] or event["user"], event["message"], event["thread"])
        if event["type"] == "deletion":
            return self.events.message_deleted(self, ref, sender)
        message = Message(event["text"], sender, room or self.bot_identifier)
        message.ref, message.thread, message.sent_at = ref, ref.thread, event["time"]
        message.edited = event["type"] == "edit"
        report = self.events.message_edited if message.edited else self.events.message_received
        return report(self, message)

    def person(self, user, name=None, room=None):
        found = LocalOccupant(user, room, name) if room else LocalPerson(user, nick=name)
        found.network = self.network
        return found

    def build_identifier(self, text):
        if not re.fullmatch(r"@[\w.-]+|#[\w.-]+(/@[\w.-]+)?", text):
            raise ValueError(f"expected @user, #room or #room/@user, not {text!r}")
        name, _, user = text.partition("/")
        room = NamedRoom(name, self.network) if name[0] == "#" else None
        return self.person(user or name, room=room) if user or not room else room

    async def look_up(self, text):
        found, name = self.build_identifier(text), text.rpartition("/")[2]
        try:
            await self.http.call("GET", f"names/{quote(name, safe='')}")
        except RequestRefused as error:
            missing = RoomDoesNotExistError if name[0] == "#" else UserDoesNotExistError
            raise missing(f"{text}: {error}") from None
        return found

    def features(self, to):
        return FEATURES

    async def send_operation(self, message, operation, key):
        match operation:
            case Post(text, thread, mentions):
                body = {"to": message.recipient, "text": text, "thread": thread, "mentions": mentions, "key": key}
                answer = await self.http.call("POST", "messages", body)
                return answer["message"]
            case Edit(ref, text):
                await self.http.call("PUT", f"messages/{ref.id}", {"text": text})
            case Delete(ref):
                await self.http.call("DELETE", f"messages/{ref.id}")
            case React(ref, emoji, remove):
                await self.http.call("DELETE" if remove else "PUT", f"messages/{ref.id}/{quote(emoji)}")
        return None


KEYS = {
    "server": IdentityKey(check_text, "required", "URL of the server", required=True),
    "token": IdentityKey(check_text, "required", "the bot's token", required=True),
}
NETWORK = Network("Parley", "an invented chat server", NetworkSettings(KEYS), ParleyNetwork)
