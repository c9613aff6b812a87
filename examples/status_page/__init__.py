"""A plugin that sends requests to another service and waits for the responses without a thread."""
