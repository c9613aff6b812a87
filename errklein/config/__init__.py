"""The configuration: loading of an errbot config.py, the settings with their defaults, and warnings."""

from errklein.config._loading import Config, load_config, located_errors
from errklein.config._settings import SETTINGS, STORAGES, ConfigError, MailFallback
from errklein.config.review import configuration_warnings, placeholders
from errklein.config.secrets import SecretError, SecretStore, read_secret, read_secrets, take_variables

__all__ = ["Config", "ConfigError", "load_config"]
"""The names for plugins. Further names are those that other packages of errklein use."""
