"""The process of a bot: checks before the start, start and stop, signals, restart, and reloading of plugins."""

from errklein.service._data_directory import DataDirectory, DataDirectoryError, user_name
from errklein.service._supervision import Supervision, reactor_deadline
from errklein.service.bot_service import BotService, CannotStart, configure_garbage_collector
from errklein.service.startup_checks import Listening, errors_end_program, load_with_options
