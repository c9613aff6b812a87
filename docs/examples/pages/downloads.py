from pathlib import Path

from twisted.web.static import File

from errklein import BotPlugin

DIRECTORY = Path(__file__).with_name("downloads")


class Downloads(BotPlugin):
    """Serves the files of a directory."""

    def activate(self):
        super().activate()
        self.mount("/downloads", File(str(DIRECTORY)))
