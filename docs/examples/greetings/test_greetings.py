from pathlib import Path

pytest_plugins = ["errbot.backends.test"]
extra_plugin_dir = str(Path(__file__).parent)


def test_greeting(testbot):
    """The person named is greeted."""
    testbot.push_message("!greet Ada")
    assert "Hello Ada" in testbot.pop_message()
