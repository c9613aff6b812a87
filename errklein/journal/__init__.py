"""The journal of webhooks: received deliveries, their outcome, and what is still to be run."""

from errklein.journal._archive import JournalArchive, back_up, backup_of, check_backup, restore_paused
from errklein.journal._queue import DeliveryQueue, RetryPolicy
from errklein.journal._redaction import Redaction
from errklein.journal._retention import Retention
from errklein.journal._sqlite import DATABASE, INLINE, MIGRATIONS, SQLiteJournal
