from flask import abort, after_this_request, redirect, request

from errklein import BotPlugin, webhook


class Responses(BotPlugin):
    @webhook(methods=["POST"])
    def created(self, payload):
        headers = {"Location": "/builds/errklein/13", "Content-Type": "text/plain"}
        return "created\n", 201, headers

    @webhook
    def powered(self, payload):
        @after_this_request
        def add_header(response):
            response.headers["X-Powered-By"] = "errklein"

        return "OK\n"

    @webhook
    def forbidden(self, payload):
        abort(403, "Forbidden")

    @webhook
    def visits(self, payload):
        number = int(request.cookies.get("visits", 0)) + 1

        @after_this_request
        def remember(response):
            response.set_cookie("visits", str(number))

        return f"visit {number}\n"

    @webhook
    def latest(self, payload):
        return redirect("/builds/errklein/13")
