import shutil

from twisted.internet.threads import deferToThread

from errklein import BotPlugin, botcmd


class Archive(BotPlugin):
    """Archives a directory."""

    @botcmd(admin_only=True)
    async def archive(self, message, args):
        """Archive a directory: !archive /srv/www"""
        path = await deferToThread(shutil.make_archive, args, "zip", args)
        return f"Written to `{path}`."
