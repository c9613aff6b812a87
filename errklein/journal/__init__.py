"""The journal of webhooks: received deliveries, their outcome, and what is still to be run."""

__all__: list[str] = []
