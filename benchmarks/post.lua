-- Posts of wrk, and one line of JSON about their responses; times are in microseconds.
-- Arguments after the URL and "--": a file with the body, its content type, and optionally a number of routes: then the
-- requests go to /routes/0, /routes/1, … in turn. By default 50 bytes of JSON are posted to the URL.
-- With GitHub's signature of the body instead of the number, and a text, each request has an id that begins with the text.
wrk.method = "POST"
wrk.body = '{"repository": {"name": "errklein"}, "count": 123}'
wrk.headers["Content-Type"] = "application/json"

local function to_each_route(count)
  local requests, sent = {}, 0
  for number = 1, count do
    requests[number] = wrk.format(nil, "/routes/" .. number - 1)
  end
  return function()
    sent = sent + 1
    return requests[sent % count + 1]
  end
end

local function with_ids(signature, prefix)
  wrk.headers["X-Hub-Signature-256"] = signature
  wrk.headers["X-GitHub-Event"] = "push"
  wrk.headers["X-GitHub-Delivery"] = "@id@"
  local before, after = wrk.format():match("^(.*)@id@(.*)$")
  local sent = 0
  return function()
    sent = sent + 1
    return before .. prefix .. sent .. after
  end
end

function init(args)
  if args[1] then
    local file = io.open(args[1], "rb")
    wrk.body = file:read("*a")
    file:close()
    wrk.headers["Content-Type"] = args[2]
  end
  if args[4] then
    request = with_ids(args[3], args[4])
  elseif args[3] then
    request = to_each_route(tonumber(args[3]))
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "duration": %d, "p50": %.1f, "p99": %.1f, "max": %.1f, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
