// Loaded into the suite's origin server: it listens on this machine only, and
// keeps idle connections longer than the suite's pauses last. As shipped, Node
// closes them after 5 s, in the very moment in which they are used again.
const http = require('http')
const { createServer } = http
http.createServer = (...args) => {
  const server = createServer(...args)
  server.keepAliveTimeout = 120000
  const listen = server.listen.bind(server)
  server.listen = port => listen(port, '127.0.0.1')
  return server
}
