"""Declarations of webhooks, and the decoding of their payloads, without a network."""

from errklein.webhooks.declaration import Hook, HookDeclaration, webhook

__all__ = ["Hook", "HookDeclaration", "webhook"]
