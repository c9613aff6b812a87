"""Dispatch of messages: find the command, check permissions, run it and send its replies."""

from errklein.dispatch._dispatcher import Dispatcher
from errklein.dispatch._finding import History, Sender, recall_position
from errklein.dispatch._networks import Networks, RoomOperations, name_of
from errklein.dispatch.replies import DetailedError, Disclosure, build_reply, card_as_text, process_template
