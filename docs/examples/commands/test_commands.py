from pathlib import Path

from errklein.testing import PluginTestCase


class CommandTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_hello(self):
        """The text after the command is its argument."""
        self.assertEqual(self.command("!hello Ada"), "Hello, Ada!")
        self.assertEqual(self.command("!hello", frm="@alice"), "Hello, @alice!")

    def test_hello_all(self):
        """Each item of a generator is a message."""
        replies = self.bot.say("!hello all Ada Grace")
        self.assertEqual(replies, ["Hello, Ada!", "Hello, Grace!"])
        self.assertIn("Name the people to greet", self.command("!hello all"))

    def test_goodbye(self):
        """The command has other names, and is for administrators."""
        for text in ("!goodbye", "!bye", "!see you"):
            self.assertEqual(self.command(text), "Goodbye!")
        self.assertNotIn("Goodbye!", self.bot.say("!goodbye", frm="@alice"))

    def test_scale(self):
        """Arguments are declared one by one; a mistake gets the usage."""
        self.assertEqual(self.command("!scale web --count 3"), "web runs 3 instances.")
        self.assertIn("usage: scale [-h] [--count COUNT] service", "".join(self.bot.say("!scale")))

    def test_tickets(self):
        """One pattern looks at every message, the other only at commands."""
        self.assertEqual(self.command("see #12"), "https://tickets.example/12")
        self.assertIn("Ticket 12 is assigned to Ada.", self.bot.say("!assign #12 to Ada"))

    def test_question(self):
        """Without a branch the bot asks, and the next message is the answer."""
        self.assertEqual(self.command("!deploy"), "Which branch?")
        self.assertEqual(self.command("main"), "Deploying main.")

    def test_no_answer(self):
        """Without an answer the command ends after its timeout."""
        self.command("!deploy")
        self.bot.advance(60)
        self.assertEqual(len(self.bot.messages), 2)

    def test_approval(self):
        """Only an administrator, here @admin, may press a button, and then the command goes on."""
        self.bot.say("!release 1.2", frm="@alice", room="#builds")
        self.assertEqual(self.bot.press("yes", frm="@alice", room="#builds"), ["You may not answer this question."])
        self.assertEqual(self.bot.press("yes", room="#builds")[-1], "Released 1.2.")

    def test_freeze(self):
        """The filter blocks deployments, and nothing else."""
        self.command("!freeze")
        self.assertEqual(self.command("!deploy main"), "Deployments are frozen.")
        self.assertEqual(self.command("!hello Ada"), "Hello, Ada!")
        self.command("!freeze off")
        self.assertEqual(self.command("!deploy main"), "Deploying main.")

    def test_shortcuts(self):
        """Commands come and go while the bot runs."""
        self.command("!shortcut docs https://docs.example")
        self.assertEqual(self.command("!docs"), "https://docs.example")
        self.command("!shortcut remove docs")
        self.assertNotIn("https://docs.example", self.bot.say("!docs"))
