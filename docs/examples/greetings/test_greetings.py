from pathlib import Path

pytest_plugins = ["errbot.backends.test"]
extra_plugin_dir = str(Path(__file__).parent)


def test_greeting(testbot):
    """It greets whom it is told to."""
    testbot.push_message("!greet Ada")
    assert "Hello Ada" in testbot.pop_message()
