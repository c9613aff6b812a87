"""Signatures of sources without a scheme of their own here: the HMAC of the body, as most of them send it."""

from __future__ import annotations

import re

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import ALGORITHMS, BODY, ENCODINGS, TIMESTAMP, SignedBody
from errklein.verify._verification import Verification

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def hmac_signature(
    *,
    secret: Secrets,
    header: str,
    algorithm: str = "sha256",
    prefix: str = "",
    encoding: str = "hex",
    timestamp_header: str | None = None,
    signed: str | None = None,
    tolerance: float = 300.0,
    id_header: str | None = None,
) -> Verification:
    """Return the verification of an HMAC in a header.

    :param header: The header with the signature.
    :param algorithm: "sha1", "sha256", "sha384" or "sha512".
    :param prefix: The text before the signature, such as "sha256=".
    :param encoding: "hex", in lower case, or "base64".
    :param timestamp_header: The header with the time at which the source signs, as Unix time in seconds.
    :param signed: The signed text with the placeholders {timestamp} and {body}. By default, it is "{timestamp}.{body}" with a
        timestamp, and otherwise the body.
    :param tolerance: The greatest difference of that time to the present time, in seconds.
    :param id_header: The header with the id of the delivery.
    """
    for name in (header, *filter(None, (timestamp_header, id_header))):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"invalid name of a header: {name!r}")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"invalid algorithm: {algorithm!r}; expected one of {', '.join(ALGORITHMS)}")
    if encoding not in ENCODINGS:
        raise ValueError(f"invalid encoding: {encoding!r}; expected one of {', '.join(ENCODINGS)}")
    text = signed or ("{timestamp}.{body}" if timestamp_header else "{body}")
    if text.count(BODY.decode()) != 1 or text.count(TIMESTAMP.decode()) != bool(timestamp_header):
        raise ValueError(f"invalid signed text: {text!r}; expected {{body}}, and {{timestamp}} with a timestamp_header")
    form = SignedBody(
        (header.lower().encode(),),
        prefix=prefix.encode(),
        algorithm=algorithm,
        encode=ENCODINGS[encoding],
        signed=text.encode(),
        timestamp_header=(timestamp_header or "").lower().encode(),
        tolerance=tolerance,
    )
    return form.verification("hmac_signature", secret, id_in_header(id_header.lower().encode()) if id_header else None)
