from errklein import BotPlugin, webhook


class Alarm(BotPlugin):
    """Posts alarms to the rooms, before everything else."""

    @webhook("/alarm", methods=["POST"], ack="now")
    def alarm(self, payload):
        for name in self.bot_config.CHATROOM_PRESENCE:
            room = self.build_identifier(name)
            self.send(room, "@here: an alarm", priority=True, mentions=True)
            # Without mentions=True, since the text is from outside.
            self.send(room, payload["summary"], priority=True)
