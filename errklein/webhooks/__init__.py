"""What a webhook is: its declaration, its rule, and how its payload is read. No network here."""

from errklein.webhooks.declaration import Hook, HookDeclaration, webhook

__all__ = ["Hook", "HookDeclaration", "webhook"]
