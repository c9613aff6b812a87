from errklein import BotPlugin, webhook


class Stock(BotPlugin):
    items = {"tea": 12}

    @webhook("/stock/<item>", methods=["GET"])
    def stock(self, payload, item):
        if item not in self.items:
            return {"detail": f"There is no item {item}."}, 404
        return {"item": item, "count": self.items[item]}
