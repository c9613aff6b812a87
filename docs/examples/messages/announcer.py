from errklein import BotPlugin, botcmd


class Announcer(BotPlugin):
    """Posts announcements to the rooms."""

    @botcmd
    def announce(self, message, args):
        """Post a text to the rooms: !announce lunch is ready"""
        text = f"**Announcement**: {args}"
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), text)
        return "Posted."

    def callback_message(self, message):
        if "thank you" in message.body.lower():
            self.send(message.frm, "You are welcome.")
