#!/bin/sh
# certbot sets RENEWED_LINEAGE to the directory of the renewed certificate.
set -eu
target=/etc/errklein/certificates/$(basename "$RENEWED_LINEAGE").pem
umask 077
cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" > "$target.new"
chgrp errklein "$target.new"
chmod 0640 "$target.new"
mv "$target.new" "$target"
