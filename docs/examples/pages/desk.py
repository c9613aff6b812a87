import hmac
from contextlib import suppress
from pathlib import Path

from twisted.web.static import Data
from twisted.web.websocket import WebSocketResource
from wsproto.utilities import LocalProtocolError

from errklein import BotPlugin, botcmd
from errklein.text import md_escape

PAGE = Path(__file__).with_name("desk.html").read_bytes()


class Desk(BotPlugin):
    """Connects browsers with the rooms."""

    def get_configuration_template(self):
        return {"ORIGIN": "https://bot.example.net", "TOKEN": "change me"}

    def activate(self):
        super().activate()
        self.visitors = set()
        self.mount("/desk.html", Data(PAGE, "text/html; charset=utf-8"))
        if self.config:
            self.mount("/desk", Door(self))
            self.start_poller(30, self.check)

    def buildProtocol(self, request):
        return Visitor(self)

    @botcmd
    async def answer(self, message, args):
        """Send a text to the visitors: !answer we open at nine"""
        admitted = [visitor for visitor in self.visitors if visitor.is_admitted]
        for visitor in admitted:
            visitor.show(args)
        return f"Sent to {len(admitted)}."

    async def check(self):
        for visitor in list(self.visitors):
            visitor.check()


class Door(WebSocketResource):
    """Admits browsers that show a page of the bot's own site."""

    def render_GET(self, request):
        if request.getHeader("Origin") != self.factory.config["ORIGIN"]:
            request.setResponseCode(403)
            return b"another origin\n"
        return super().render_GET(request)


class Visitor:
    """The WebSocket of a browser, whose first message must be the token."""

    def __init__(self, desk):
        self.desk = desk
        self.is_admitted = False
        self.is_alive = True

    def negotiationStarted(self, transport):
        self.transport = transport

    def negotiationFinished(self):
        self.desk.visitors.add(self)

    def textMessageReceived(self, message):
        if self.is_admitted:
            for room in self.desk.bot_config.CHATROOM_PRESENCE:
                self.desk.send(self.desk.build_identifier(room), md_escape(message))
        elif hmac.compare_digest(message.encode(), self.desk.config["TOKEN"].encode()):
            self.is_admitted = True
            self.show("welcome")
        else:
            self.transport.loseConnection(1008)

    def bytesMessageReceived(self, data):
        self.transport.loseConnection(1003)

    def pongReceived(self, payload):
        self.is_alive = True

    def connectionLost(self, reason):
        self.desk.visitors.discard(self)

    def show(self, text):
        # It raises while the connection is being closed.
        with suppress(LocalProtocolError):
            self.transport.sendTextMessage(text)

    def check(self):
        with suppress(LocalProtocolError):
            if not self.is_alive:
                self.transport.loseConnection()
            elif self.is_admitted:
                self.transport.ping()
        self.is_alive = False
