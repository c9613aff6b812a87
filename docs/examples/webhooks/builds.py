from errklein import BotPlugin, webhook


class Builds(BotPlugin):
    @webhook("/builds/<project>/<int:number>", methods=["GET"])
    def build(self, payload, project, number):
        return {"project": project, "number": number}
