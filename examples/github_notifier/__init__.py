"""A plugin that posts GitHub's events to chat rooms."""
