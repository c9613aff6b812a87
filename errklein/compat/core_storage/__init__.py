"""`errbot.bootstrap.CORE_STORAGE`: a .plug file and a module for each storage that errklein includes.

The files are for tools that list the directory, and `BackendPluginManager` loads storages from them.
"""

__all__: list[str] = []
