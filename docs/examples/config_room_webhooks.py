BACKEND = "Text"

WEBHOOKS = {
    "alerts": {"source": "grafana", "room": "#ops", "secret": "env:GRAFANA_TOKEN", "events": ["firing"]},
    "code": {"source": "github", "room": "#dev", "secret": "env:GITHUB_SECRET", "messages": "10/min"},
    "teams": {
        "source": "alertmanager",
        "room": "#{commonLabels.team}",
        "rooms": ["#ops", "#web", "#storage"],
        "secret": "file:/run/secrets/alertmanager",
    },
}
