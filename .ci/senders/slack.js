// Posts a text: node slack.js ADDRESS TEXT
const { IncomingWebhook } = require("@slack/webhook");

new IncomingWebhook(process.argv[2]).send({ text: process.argv[3] }).then(
  (result) => { process.exitCode = result.text === "ok" ? 0 : 1; },
  (error) => { console.error(error); process.exitCode = 1; },
);
