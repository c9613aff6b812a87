from errklein import BotPlugin, Command, botcmd


class Shortcuts(BotPlugin):
    """Lets administrators add commands."""

    @botcmd(admin_only=True, split_args_with=None)
    def shortcut(self, message, args):
        """Add a command that replies with a text: !shortcut docs https://docs.example"""
        name, text = args

        def reply(plugin, message, args):
            return text

        command = Command(reply, name=name, doc=f"Reply with {text}")
        self.create_dynamic_plugin(f"shortcut_{name}", [command])
        return f"Added !{name}."

    @botcmd(admin_only=True)
    def shortcut_remove(self, message, args):
        """Remove a shortcut: !shortcut remove docs"""
        self.destroy_dynamic_plugin(f"shortcut_{args}")
        return f"Removed !{args}."
