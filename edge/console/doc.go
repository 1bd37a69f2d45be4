// Package console is the operators' API and page of a node.
//
//	/healthz                 open   200 while the process answers
//	/readyz                  open   200, or 503 with the reason
//	/v1/status               token  Status
//	/v1/members              token  {"members": [Member, …]}
//	/v1/ring?url=URL         token  Route
//	/v1/why?url=URL          token  Why
//	/v1/viewers              token  Viewers
//	/v1/config               token  the configuration in use (YAML)
//	/v1/purge (POST)         token  Receipt
//	/v1/reload (POST)        token  Reload
//	/v1/upgrade (POST)       token  Upgrade
//	/metrics                 token  Options.Metrics
//	/ and its files          open   the page, which holds nothing until it has the token
//
// The token travels as Authorization: Bearer and is compared in constant time. Errors of the API are problem details
// (RFC 9457). Everything is answered with Cache-Control: no-store and with a content security policy that allows the
// page's own files and nothing else: no inline script or style, no other host, no frame around it.
//
// A request that a browser sends for a page of another origin gets 403, with the token too. One that comes over loopback for
// a name other than localhost, without the token, gets 421: that is what a page does whose name was made to stand
// for this machine (DNS rebinding). Probes of health are answered to whoever asks.
//
// A purge is an object: {"url": …}, {"prefix": …} or {"tag": …}, with a list of up to 1,000 {"urls": [ … ]},
// {"prefixes": [ … ]} or {"tags": [ … ]}, or {"all": true}; and with "soft": true. The
// answer is 200 when every node of the cluster serves nothing of it any more, 202 when some did not say so within a
// second: the receipt names them, and they obey once they can be reached. A mistake in it is answered with a
// problem whose members field, reason and fix say what to do.
//
// The status says in its first words what is wrong and what to do (summary, problems), or that all is well; and of the
// cluster, as this node sees it: the version of its ring and who uses another one, how far it is with purges, whether the
// budgets of retries and hedges are used up. The members tell for each whether it answers this node and why not, how
// fast, what runs to it, and the state of its breaker.
//
// The page takes the token from the fragment of its URL (#token=…), which no server and no log ever sees, removes it
// from the address bar and keeps it for the browser tab; without one it asks. It polls /v1/status each second and draws
// rates from the differences, so the node keeps no history and a slow viewer costs it nothing. It needs no build step
// and no library: the files under page are what the browser runs.
//
// The package states what it needs to know as structs and funcs; whoever joins the parts fills them.
package console
