"""Signatures with a private key, RFC 8032, which are verified with the public one."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as PublicKey

__all__ = ["PublicKey", "load_key", "verifies"]


def load_key(decode: Callable[[str], bytes], text: str) -> PublicKey:
    """Return the public key of an encoded text of 32 bytes.

    :raises ValueError: The text is invalid.
    """
    try:
        return PublicKey.from_public_bytes(decode(text))
    except (ValueError, TypeError):
        raise ValueError(f"invalid public key: {text!r}; expected 32 bytes, encoded as the source shows them") from None


def verifies(
    key: PublicKey, decode: Callable[[bytes], bytes], encode: Callable[[bytes], bytes], signature: bytes, message: bytes
) -> bool:
    """Return whether the encoded signature is that of the message. Only its regular spelling is accepted."""
    try:
        decoded = decode(signature)
        key.verify(decoded, message)
    except (ValueError, InvalidSignature):
        return False
    return encode(decoded) == signature
