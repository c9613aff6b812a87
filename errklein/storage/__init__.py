"""Storage of plugins' values: databases, pickles, backups, and the import of errbot's shelves. A storage opens
namespaces, one for each plugin and a few of the bot's own. A namespace maps keys, which are strings, to pickled values.
`ports.values.Storage` and `ports.values.Store` define the interface."""

from errklein.database import StorageError
from errklein.storage._backup import BACKUP_NAME, ROOM_SECRETS, read_any_backup, write_backup
from errklein.storage._shelves import (
    MARK,
    SETTLED,
    ImportPlan,
    find_shelves,
    imported_shelves,
    is_settled,
    settle,
    unimported,
    write_shelves,
)
from errklein.storage._storages import (
    DATABASE,
    MIGRATIONS,
    AdaptedStorage,
    MemoryStorage,
    SQLiteStorage,
    SQLiteStore,
    put_rows,
    rows_of,
)
from errklein.storage.pickling import (
    DamagedPickle,
    NameStatus,
    NotExportable,
    PickledName,
    Row,
    UnreadableValue,
    UnstorableValue,
    ValueReader,
    check_rows,
    dumps,
    is_standard,
    names_in,
    plain_value,
    rewritten,
)

ROOM_WEBHOOKS = "room webhooks"  # the namespace of the webhooks that were made in chats and by `errklein webhook new`

OWN_NAMESPACES = ("core", "repomgr", ROOM_WEBHOOKS, ROOM_SECRETS)
"""The namespaces of the bot's own values: configurations of plugins and notices, repositories, and webhooks."""

__all__ = ["StorageError"]  # What plugins use. Further names are those that other packages of errklein use.
