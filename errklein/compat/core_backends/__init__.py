"""`errbot.bootstrap.CORE_BACKENDS`: .plug files and modules of errklein's own networks, for tools that list them."""

__all__: list[str] = []
