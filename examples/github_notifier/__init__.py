"""A plugin that tells chat rooms what happens on GitHub."""
