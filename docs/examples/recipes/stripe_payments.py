from datetime import UTC, datetime

from errklein import BotPlugin, webhook


class Stripe(BotPlugin):
    """Announces invoices whose payment failed."""

    @webhook("/stripe", methods=["POST"])
    def event(self, payload):
        if payload["type"] != "invoice.payment_failed":
            return
        invoice = payload["data"]["object"]
        line = f"The payment of invoice [{invoice['number']}](<{invoice['hosted_invoice_url']}>) failed."
        if invoice["next_payment_attempt"]:
            line += f" Stripe tries again on {datetime.fromtimestamp(invoice['next_payment_attempt'], UTC):%d %B}."
        else:
            line += " Stripe doesn't try again."
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), line if payload["livemode"] else f"(test mode) {line}")
