-- What wrk sends, and one line of JSON about what came of it; times are in microseconds.
wrk.method = "POST"
wrk.body = '{"repository": {"name": "errklein"}, "count": 123}'
wrk.headers["Content-Type"] = "application/json"

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "duration": %d, "p50": %.1f, "p99": %.1f, "max": %.1f, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
