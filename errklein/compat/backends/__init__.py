"""Networks that were written for errbot. Nothing is exported here, since `finding` and `errbot` import the reactor."""

__all__: list[str] = []
