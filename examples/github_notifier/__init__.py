"""A plugin that reports GitHub's events in chat rooms."""
