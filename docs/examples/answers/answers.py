from flask import abort, after_this_request, jsonify, redirect, request, url_for

from errklein import BotPlugin, webhook


class Answers(BotPlugin):
    """What a handler gets, and what it may answer."""

    @webhook
    def got(self, payload):
        return repr(payload)

    @webhook(form_param="payload")
    def field(self, payload):
        return repr(payload)

    @webhook("/users/<int:number>")
    def user(self, payload, number):
        return {"number": number, "name": "nobody"}

    @webhook(methods=["POST"])
    def created(self, payload):
        return "made\n", 201, {"Location": url_for("user", number=7)}

    @webhook
    def refused(self, payload):
        if request.headers.get("X-Token") != "letmein":
            abort(403, "The token is wrong.")
        return jsonify(welcome=True)

    @webhook
    def counted(self, payload):
        visits = int(request.cookies.get("visits", 0)) + 1

        @after_this_request
        def remember(response):
            response.set_cookie("visits", str(visits))

        return f"visit {visits}"

    @webhook
    def elsewhere(self, payload):
        return redirect("https://example.com/")

    @webhook
    def lines(self, payload):
        yield "one\n"
        yield "two\n"

    @webhook(raw=True, max_body=100, timeout=5)
    def exact(self, request):
        return {"bytes": len(request.get_data()), "verb": request.method, "query": request.args.get("q")}
