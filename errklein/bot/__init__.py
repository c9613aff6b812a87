"""The bot, which connects the parts that handle events, run commands, call callbacks and send messages. Plugins reach
it as `self._bot`."""

from errklein.bot._bot import Bot
from errklein.bot._events import CHUNK_SIZE, StreamCopier
from errklein.bot._operations import BotStatus, ConsoleLinks, CoreHost, NetworkStatus
from errklein.bot._roles import SingleNode
from errklein.bot._sending import Sending
from errklein.bot.room_webhooks import MadeWebhook
