BACKEND = "Text"

ACCESS_CONTROLS = {"webhook_*": {"allowusers": ("alice!*@*", "bob!*@user/bob")}}
