"""`errbot.bootstrap.CORE_BACKENDS`: a .plug file and a module for each network that errklein includes.

The files are for tools that list the directory. The bot creates these networks in `errklein.wiring`, since they need a reactor.
"""

__all__: list[str] = []
