-- A key is bytes (UTF-8 that may contain lone surrogates), since SQLite's text can't represent every Python string. The table keeps
-- its rowid, so that the primary key is a separate index, and listing keys doesn't read the values.
CREATE TABLE stored (
    namespace BLOB NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (namespace, key)
);
