from errklein import BotPlugin, botcmd


class Basics(BotPlugin):
    @botcmd
    def basics(self, message, args):
        """Store, read and remove a value."""
        self["color"] = "blue"  # on disk when the line has ended
        stored = self["color"]  # "blue", also after a restart
        size = self.get("size", 10)  # 10, since nothing is stored as "size"
        known = "size" in self  # False
        del self["color"]  # self["color"] would now raise KeyError
        return f"{stored} {size} {known} {'color' in self}"
