import hmac

from errklein import BotPlugin, webhook
from errklein.verify import Refused, Verification, github


def acme(secret):
    """Return the verification of Acme's orders, by the HMAC-SHA512 of the URL and the body in `Acme-Signature`."""
    return Verification("acme", check, (secret,), secret_headers=frozenset({b"acme-signature"}), signer=sign)


def check(received, secrets):
    """Raise Refused unless the request has a signature with one of the secrets."""
    given = received.header(b"acme-signature")
    for secret in secrets:
        if hmac.compare_digest(given, signature(received, secret)):
            return
    raise Refused("the signature doesn't match")


def sign(received, secret):
    """Return the headers of a signed request, for tests."""
    return [(b"acme-signature", signature(received, secret))]


def signature(received, secret):
    return hmac.digest(secret, received.url.encode() + received.body, "sha512").hex().encode()


class Orders(BotPlugin):
    @webhook("/github", verify=github(secret="env:GH_SECRET"))
    def push(self, payload):
        return f"{payload['ref']}\n"

    @webhook("/orders", verify=acme(secret="env:ACME_SECRET"))
    def order(self, payload):
        return f"order {payload['number']}\n"
