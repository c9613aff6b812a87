"""`errbot.bootstrap.CORE_STORAGE`: .plug files and modules of errklein's own storages, as `BackendPluginManager` loads them."""

__all__: list[str] = []
