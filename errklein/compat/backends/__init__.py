"""Networks that were written for errbot: found, loaded, and run in threads of their own.

Nothing is exported here, since `finding` and `errbot` import the reactor.
"""

__all__: list[str] = []
