from flask import request

from errklein import BotPlugin, webhook
from errklein.verify import github


class Deployments(BotPlugin):
    @webhook("/deployments", methods=["POST"], verify=github(secret="env:GH_SECRET"), ack="now", dedupe="id")
    def deployed(self, payload):
        environment = payload["deployment"]["environment"]
        if request.delivery.once("announced"):
            self.announce(f"Deployed to `{environment}`")
        self[environment] = payload["deployment"]["sha"]

    @webhook("/deployments/failed", methods=["POST"], verify=github(secret="env:GH_SECRET"), ack="now", dedupe="id")
    async def failed(self, payload):
        environment = payload["deployment"]["environment"]
        if await request.delivery.once("announced"):
            self.announce(f"Deployment to `{environment}` failed")
        url = f"https://alerts.example.net/deployment-{request.delivery.id}"
        response = await self.http.put(url, json={"environment": environment})
        if response.code >= 400:
            raise RuntimeError(f"{url} responded with {response.code}")

    def announce(self, text):
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), text)
