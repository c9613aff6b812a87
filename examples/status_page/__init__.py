"""A plugin that calls another service without blocking a thread."""
