// A script for Hubot and an adapter without a chat network: `hubot --file hubot.mjs --require .` in this directory.
// Hubot decodes JSON and forms before it calls a handler. ROUTES in the environment is the number of additional routes
// /routes/0, /routes/1, …
import EventEmitter from 'node:events'

class Quiet extends EventEmitter {
  run () { this.emit('connected') }
  close () {}
}

export default function script (robot) {
  const ok = (request, response) => response.type('text').send('OK')
  robot.router.post('/bench_async', ok)
  robot.router.post('/bench_form_async', (request, response) => {
    JSON.parse(request.body.payload)
    ok(request, response)
  })
  for (let number = 0; number < Number(process.env.ROUTES || 0); number++) {
    robot.router.post(`/routes/${number}`, ok)
  }
}

script.use = async robot => new Quiet()
