// Loaded into the suite's client: it drops idle connections before the edge does.
const http = require('http')
http.globalAgent = new http.Agent({ keepAlive: true, timeout: 2000 })
