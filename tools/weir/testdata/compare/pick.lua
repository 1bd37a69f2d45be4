-- A wrk script: asks for PREFIX0 to PREFIX(N-1) in random order, and ends with
-- a line of exact counts. Usage: wrk ... -s pick.lua URL -- PREFIX N
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

function init(args)
  math.randomseed(seed)
  count = tonumber(args[2])
  requests = {}
  for i = 1, count do
    requests[i] = wrk.format("GET", args[1] .. (i - 1))
  end
end

function request()
  return requests[math.random(count)]
end

function done(summary)
  local e = summary.errors
  io.write(string.format("counted requests=%d bytes=%d errors=%d\n",
    summary.requests, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout))
end
