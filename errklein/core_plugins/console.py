"""The commands `!console` and `!console end`, which let administrators enter the console, and end its sessions."""

from __future__ import annotations

from errklein.bot import ConsoleLinks
from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin
from errklein.text import code


class ConsolePlugin(CorePlugin):
    """Open the console, and end its sessions."""

    @botcmd(admin_only=True, historize=False)
    def console(self, msg: Message, args: str) -> None:
        """Send you a link to the console.

        It is valid once, for two minutes. It is for administrators whom BOT_ADMINS names by more than a name that others can take.
        """
        network, links = self.host.networks.of(msg), self._links()
        reply = network.build_reply(msg, "", private=True)
        person, shell = reply.to, f"Run {code('errklein console-link')} on the bot's machine"
        if person is None or not network.is_certain(person):
            raise CommandError(f"BOT_ADMINS names you only by what others can take, such as a nick. {shell}.")
        if not self.reads_alone(msg):
            raise CommandError(f"{shell}: others could read the link here.")
        reply.body = links.link(str(person), network.network, person)
        # The journal must not keep it.
        reply.unstored = True
        self.note(msg, "console")
        # Not by a part of the bot that also shows it to plugins.
        network.send_message(reply)

    @botcmd(admin_only=True)
    def console_end(self, msg: Message, args: str) -> str:
        """End all sessions of the console, and the links to it."""
        self.note(msg, "console_end")
        number = self._links().end_all()
        return f"Ended {number} {'session' if number == 1 else 'sessions'}."

    def _links(self) -> ConsoleLinks:
        if self.host.console is None:
            raise CommandError("The console isn't open. Set CONSOLE, or start the bot with --console.")
        return self.host.console
