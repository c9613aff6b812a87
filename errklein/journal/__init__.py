"""The journal of webhooks: received deliveries, their outcome, and what is still to be run."""

from errklein.journal._archive import JournalArchive, back_up, backup_of, check_backup, restore_paused
from errklein.journal._outbox_store import SQLiteOutboxStore
from errklein.journal._queue import DeliveryQueue, RetryPolicy
from errklein.journal._reading import NUMBERS, QUERIES, JournalReader, as_ids, delivery_of, read_queries, request_of
from errklein.journal._redaction import Redaction
from errklein.journal._retention import Pruner, Retention
from errklein.journal._sqlite import DATABASE, INLINE, MIGRATIONS, SQLiteJournal
from errklein.journal._writing import FURTHEST, PROCESS_ENDED, End, JournalWriter, fitting
