package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"weir/cache/tag"
	"weir/cluster"
	"weir/configs"
	"weir/edge/console"
	"weir/tools/proof"
)

// upgradeNode is a node as real processes that follow one another.
type upgradeNode struct {
	oracle  *proof.Oracle
	origin  *proof.Origin
	dir     string
	program string // a link, as a package manager would change it
	log     string // of all processes
	config  string
	text    string // of the configuration
	first   *exec.Cmd
	ended   chan struct{} // closed when first has

	http, https, admin string
}

// newUpgradeNode starts one with more at the end of its configuration, and each odd one of replace in place of the one before.
func newUpgradeNode(t *testing.T, more string, replace ...string) *upgradeNode {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the kernel has to divide packets: Linux")
	}
	n := &upgradeNode{oracle: proof.NewOracle(t.Name()), dir: t.TempDir()}
	n.origin = proof.NewOrigin(proof.OriginOptions{Oracle: n.oracle, Host: "127.0.0.1"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proof.Serve(listener, n.origin, nil))
	n.program, n.log, n.config = filepath.Join(n.dir, "weir"), filepath.Join(n.dir, "log"), filepath.Join(n.dir, "weir.yaml")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n.install(t, self)
	n.text = "node: {name: edge-1, dir: " + filepath.Join(n.dir, "state") + "}\n" +
		"listen: {http: \"127.0.0.1:0\", https: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", drain_timeout: 60s, upgrade_timeout: 20s}\n" +
		"cache: {disk: 256MiB, memory: 16MiB}\noverload: {delay: 0s}\n" + // a busy machine is no fault of the node
		"sites: [{hosts: [\"*\"], origins: [\"http://" + listener.Addr().String() + "\"]}]\n" + more
	n.text = strings.NewReplacer(replace...).Replace(n.text)
	n.configure(t, n.text)
	n.start(t)
	return n
}

// install makes what is run when the node is started next.
func (n *upgradeNode) install(t *testing.T, target string) {
	t.Helper()
	next := n.program + ".next"
	if err := os.Symlink(target, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, n.program); err != nil {
		t.Fatal(err)
	}
}

func (n *upgradeNode) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *upgradeNode) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.first = exec.Command(n.program, "edge", "-c", n.config)
	n.first.Env = childEnv(t, asWeir+"=1")
	n.first.Stdout, n.first.Stderr = log, log
	if err := n.first.Start(); err != nil {
		t.Fatal(err)
	}
	first, ended := n.first, make(chan struct{})
	n.ended = ended
	go func() { // ends with the process
		_ = first.Wait() // how is the test's business
		close(ended)
	}()
	t.Cleanup(func() {
		for _, pid := range n.pids(t) {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill() // it may have ended
			}
		}
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(n.log)
			t.Logf("log of the processes:\n%s", text)
		}
	})
	line := n.await(t, `edge is up.*`, 1)
	for name, to := range map[string]*string{"http": &n.http, "https": &n.https, "admin": &n.admin} {
		*to = regexp.MustCompile(` ` + name + `=(127\.0\.0\.1:\d+)`).FindStringSubmatch(line)[1]
	}
	awaitReady(t, n.admin)
}

// pids are all processes that there were.
func (n *upgradeNode) pids(t *testing.T) []int {
	t.Helper()
	pids := []int{n.first.Process.Pid}
	text, _ := os.ReadFile(n.log)
	for _, match := range regexp.MustCompile(`is to take over" .*pid=(\d+)`).FindAllSubmatch(text, -1) {
		pid, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// await waits until the log has so many matches, and returns the last.
func (n *upgradeNode) await(t *testing.T, pattern string, count int) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		text, err := os.ReadFile(n.log)
		if err != nil {
			t.Fatal(err)
		}
		if all := expression.FindAllString(string(text), -1); len(all) >= count {
			return all[count-1]
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("the log never says %s %d times", pattern, count)
		}
	}
}

// weir runs a command of operators.
func (n *upgradeNode) weir(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var text bytes.Buffer
	code = run(t.Context(), append(args, "--admin", n.admin, "--dir", filepath.Join(n.dir, "state")), streams{&text, &text})
	return text.String(), code
}

func (n *upgradeNode) client(t *testing.T, w way) (c *proof.Client, base string) {
	t.Helper()
	c, err := proof.NewClient(proof.ClientOptions{
		Oracle: n.oracle, Protocol: w.protocol, Name: w.name, Node: "edge-1", CacheStatus: true,
		TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is minted for the test
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if w.secure {
		return c, "https://" + n.https
	}
	return c, "http://" + n.http
}

// load sends small requests and slow downloads by all protocols until stop, which tells how many went well. Whatever does
// not is an error.
func (n *upgradeNode) load(t *testing.T) (stop func() (small, long int64)) {
	t.Helper()
	var all sync.WaitGroup
	var over atomic.Bool
	var small, long atomic.Int64
	check := func(w way, r proof.Result, count *atomic.Int64) bool {
		if r.Err != nil || r.Status != http.StatusOK || r.Body != proof.BodyOK {
			t.Errorf("%s: %s", w.name, r)
			return false
		}
		count.Add(1)
		return true
	}
	for _, w := range ways() {
		for range 2 {
			c, base := n.client(t, w)
			all.Go(func() {
				for i := 0; !over.Load(); i++ {
					if !check(w, c.Get(t.Context(), fmt.Sprintf("%s/o/16KiB/%d", base, i%200), proof.Options{Truth: "127.0.0.1"}), &small) {
						return
					}
				}
			})
			slow, _ := n.client(t, w)
			all.Go(func() {
				for !over.Load() {
					if !check(w, slow.Get(t.Context(), base+"/o/4MiB/film", proof.Options{Truth: "127.0.0.1", Rate: 1 << 20}), &long) {
						return
					}
				}
			})
		}
	}
	return func() (int64, int64) {
		over.Store(true)
		all.Wait()
		return small.Load(), long.Load()
	}
}

// TestUpgradeUnderLoad: three processes follow one another under load by all protocols: no request fails, no byte is wrong,
// what is stored stays, and what the old process is told to purge the new one knows.
func TestUpgradeUnderLoad(t *testing.T) {
	n := newUpgradeNode(t, "")
	stop := n.load(t)
	for i := range 3 {
		out, code := n.weir(t, "upgrade")
		if code != exitOK || !strings.Contains(out, "has taken over") {
			t.Fatalf("upgrade %d: exit code %d, %s", i+1, code, out)
		}
		t.Log(strings.TrimSpace(out))
		awaitReady(t, n.admin)
		if out, code := n.weir(t, "status"); code != exitOK || !strings.Contains(out, "edge-1  ready") {
			t.Errorf("status after upgrade %d: exit code %d, %s", i+1, code, out)
		}
		n.await(t, "the process before has ended", i+1)
	}
	small, long := stop()
	t.Logf("%d small requests and %d downloads, none failed", small, long)
	if count := n.origin.Count("/o/4MiB/film").Requests; count > 4 {
		t.Errorf("the origin was asked %d times for one object: what was stored is lost", count)
	}
	pids := n.pids(t)
	for _, pid := range pids[:len(pids)-1] {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d has not ended", pid)
		}
	}
}

// TestUpgradeRollsBack: whatever is wrong with the new process, the old one goes on, with its load, its cache and its
// sockets, says what was wrong, and can be upgraded afterwards.
func TestUpgradeRollsBack(t *testing.T) {
	n := newUpgradeNode(t, "")
	self, err := os.Readlink(n.program)
	if err != nil {
		t.Fatal(err)
	}
	stop := n.load(t)
	script := func(name, text string) string {
		file := filepath.Join(n.dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
		return file
	}
	for _, c := range []struct{ name, program, config, want string }{
		{"no program", filepath.Join(n.dir, "missing"), n.text, "no such file"},
		{"it fails", script("fails", "exit 3"), n.text, "exit status 3"},
		{"it is no node", script("other", "exec sleep 0"), n.text, "exit status 0"},
		{"its configuration is wrong", self, n.text + "lgo: {level: debug}\n", "lgo"},
		{"its certificate is missing", self, n.text + "tls: {cert: " + n.dir + "/none.pem, key: " + n.dir + "/none.pem}\n", "none.pem"},
		{"its port is taken", self, strings.Replace(n.text, `http: "127.0.0.1:0"`, `http: "`+n.https+`"`, 1), "taken"},
		{"its database is missing", self, n.text + "geo: [" + n.dir + "/none.mmdb]\n", "none.mmdb"},
	} {
		n.install(t, c.program)
		n.configure(t, c.config)
		if out, code := n.weir(t, "upgrade"); code != exitFailed || !strings.Contains(out, c.want) || !strings.Contains(out, "runs on as it was") {
			t.Errorf("%s: exit code %d, %s; want one that says %q", c.name, code, out, c.want)
		}
		if out, code := n.weir(t, "status"); code != exitOK {
			t.Errorf("%s: the status is %s", c.name, out)
		}
	}
	n.install(t, self)
	n.configure(t, n.text)
	if out, code := n.weir(t, "upgrade"); code != exitOK {
		t.Errorf("with all right again: exit code %d, %s", code, out)
	}
	n.await(t, "the process before has ended", 1)
	small, long := stop()
	t.Logf("%d small requests and %d downloads, none failed", small, long)
	if count := n.origin.Count("/o/4MiB/film").Requests; count > 4 {
		t.Errorf("the origin was asked %d times for one object: what was stored is lost", count)
	}
}

// TestUpgradeGivesUp: a new process that hangs is ended after listen.upgrade_timeout.
func TestUpgradeGivesUp(t *testing.T) {
	n := newUpgradeNode(t, "")
	short := strings.Replace(n.text, "upgrade_timeout: 20s", "upgrade_timeout: 1s", 1)
	n.configure(t, short)
	if out, code := n.weir(t, "upgrade"); code != exitOK { // to a process that gives up soon
		t.Fatalf("exit code %d, %s", code, out)
	}
	n.await(t, "the process before has ended", 1)
	stop := n.load(t)
	hangs := filepath.Join(n.dir, "hangs")
	if err := os.WriteFile(hangs, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	n.install(t, hangs)
	if out, code := n.weir(t, "upgrade"); code != exitFailed || !strings.Contains(out, "not ready within 1s") {
		t.Errorf("exit code %d, %s; want one that says how long it waited", code, out)
	}
	pids := n.pids(t)
	if syscall.Kill(pids[len(pids)-1], 0) == nil {
		t.Error("the process that hangs is still there")
	}
	stop()
}

// TestUpgradeInACluster: the other nodes never see the node leave, no ring moves, and a purge right after the change, or told
// to the old process by a connection that is still there, holds in the new one.
func TestUpgradeInACluster(t *testing.T) {
	secret := write(t, "secret", cluster.NewSecret().Reveal()+"\n")
	n := newUpgradeNode(t, "cluster: {gossip: \"127.0.0.1:0\", peer: \"127.0.0.1:0\", secret_file: "+secret+"}\n")
	address := regexp.MustCompile(`gossip=(127\.0\.0\.1:\d+)`).FindStringSubmatch(n.await(t, `gossip is up.*`, 1))[1]
	other := startOther(t, secret, func(c *configs.Config) { c.Cluster.Join = []string{address} })
	before := other.cluster.Stats()
	n.purgeAndUpgrade(t)
	after := other.cluster.Stats()
	if before.RingVersion != after.RingVersion || before.RingsPublished != after.RingsPublished || after.Left+after.Dead > 0 {
		t.Errorf("the other node saw the node leave: %+v, before %+v", after, before)
	}
	if after.NameConflicts > 0 {
		t.Errorf("%d messages claim the node's name", after.NameConflicts)
	}
}

// TestUpgradeOfARelay: the node is the way of its region to the others, and stays it: purges of either region hold in both.
func TestUpgradeOfARelay(t *testing.T) {
	secret := write(t, "secret", cluster.NewSecret().Reveal()+"\n")
	relay := freePorts(t, 1)[0]
	n := newUpgradeNode(t, "cluster: {gossip: \"127.0.0.1:0\", peer: \"127.0.0.1:0\", secret_file: "+secret+", wan: {gossip: \""+relay+"\"}}\n",
		"name: edge-1,", "name: edge-1, region: here,")
	other := startOther(t, secret, func(c *configs.Config) {
		c.Node.Region, c.Cluster.WAN = "there", configs.WAN{Gossip: "127.0.0.1:0", Join: []string{relay}}
	})
	before := other.wan.Stats()
	var purging sync.WaitGroup
	var over atomic.Bool
	count := 0
	purging.Go(func() {
		for ; !over.Load(); count++ {
			receipt, err := other.purge(t.Context(), console.Purge{Kind: string(tag.URL), Items: []string{"http://127.0.0.1/of-there"}})
			missing := slices.ContainsFunc(receipt.Nodes, func(r console.NodeReceipt) bool {
				return r.State != console.Applied && r.Error != reasonOf(context.DeadlineExceeded) // a busy machine may
			})
			if err != nil || len(receipt.Nodes) != 2 || missing {
				t.Errorf("purge %d of the other region: %+v, %v", count, receipt.Nodes, err)
				return
			}
		}
	})
	stop := func() {
		over.Store(true)
		purging.Wait()
	}
	t.Cleanup(stop)
	n.purgeAndUpgrade(t)
	stop()
	t.Logf("%d purges of the other region meanwhile", count)
	if after := other.wan.Stats(); after.Left+after.Dead > 0 || after.NameConflicts > 0 {
		t.Errorf("the other region saw the relay leave: %+v, before %+v", after, before)
	}
}

// startOther starts a node in this process, and waits until it has found another one, which change tells it of.
func startOther(t *testing.T, secret string, change func(c *configs.Config)) *node {
	t.Helper()
	config := configs.Default()
	config.Node.Name, config.Node.Dir = "edge-2", t.TempDir()
	config.Listen.HTTP, config.Listen.HTTPS, config.Listen.Admin, config.Cache.Disk = "127.0.0.1:0", "", "127.0.0.1:0", 0
	config.Cluster.Gossip, config.Cluster.Peer, config.Cluster.SecretFile = "127.0.0.1:0", "127.0.0.1:0", secret
	config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://127.0.0.1:1"}}}
	change(config)
	keyring, err := openKeyring(config.Cluster, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other, err := newNode(nodeOptions{config: config, keyring: keyring, log: slog.New(slog.DiscardHandler), hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.listen(); err != nil {
		t.Fatal(err)
	}
	running := start(t.Context(), other.run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
	})
	awaitReady(t, other.admin.listener.Addr().String())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); other.wan == nil && other.ring().Len() < 2 || other.wan != nil && len(other.otherRegions()) < 1; {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the two nodes do not find each other")
		}
	}
	return other
}

// purgeAndUpgrade upgrades the node three times; a purge after each holds at both nodes.
func (n *upgradeNode) purgeAndUpgrade(t *testing.T) {
	t.Helper()
	c, base := n.client(t, ways()[0])
	get := func(path string) proof.Result {
		return c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1"})
	}
	for i := range 3 {
		path := fmt.Sprintf("/o/16KiB/purged-%d", i)
		if r := get(path); r.Err != nil {
			t.Fatal(r)
		}
		if out, code := n.weir(t, "upgrade"); code != exitOK {
			t.Fatalf("exit code %d, %s", code, out)
		}
		begun := time.Now()
		out, code := n.weir(t, "purge", "http://127.0.0.1"+path)
		if code != exitOK || strings.Count(out, "applied") != 2 {
			t.Errorf("purge: exit code %d, %s", code, out)
		}
		match := regexp.MustCompile(`(\S+) +what was asked of the origin later stays`).FindStringSubmatch(out)
		if at, err := time.Parse(time.RFC3339Nano, match[1]); err != nil || at.Before(begun) || at.After(time.Now()) {
			t.Errorf("purged at %v, %v; it is %v", at, err, time.Now())
		}
		if r := get(path); r.Err != nil || r.Outcome() == "hit" {
			t.Errorf("after the purge: %s", r)
		}
		n.await(t, "the process before has ended", i+1)
	}
}

// TestUpgradeKeepsTickets: a client's ticket is good at the process that follows, over TLS and over QUIC, where a request in
// early data is served.
func TestUpgradeKeepsTickets(t *testing.T) {
	n := newUpgradeNode(t, "")
	client := func() *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(0)} //nolint:gosec // the certificate is minted for the test
	}
	overTCP, overQUIC := client(), client()
	for i := range 3 {
		if resumed := visitTLS(t, n.https, overTCP); resumed != (i > 0) {
			t.Errorf("TLS, process %d: resumed is %v", i+1, resumed)
		}
		if resumed := visitEarly(t, n.https, overQUIC); resumed != (i > 0) {
			t.Errorf("QUIC, process %d: resumed is %v", i+1, resumed)
		}
		if out, code := n.weir(t, "upgrade"); code != exitOK {
			t.Fatalf("exit code %d, %s", code, out)
		}
		n.await(t, "the process before has ended", i+1)
	}
}

// visitTLS asks for an object over a new connection, and tells whether a ticket was good.
func visitTLS(t *testing.T, address string, config *tls.Config) (resumed bool) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config.Clone()}
	defer transport.CloseIdleConnections()
	state := fetchAll(t, transport, http.MethodGet, address)
	return state.DidResume
}

// visitEarly is the same over QUIC, with the request in early data where there is a ticket.
func visitEarly(t *testing.T, address string, config *tls.Config) (resumed bool) {
	t.Helper()
	var conn *quic.Conn
	transport := &http3.Transport{
		TLSClientConfig: config.Clone(),
		Dial: func(ctx context.Context, address string, config *tls.Config, options *quic.Config) (_ *quic.Conn, err error) {
			conn, err = quic.DialAddrEarly(ctx, address, config, options)
			return conn, err
		},
	}
	defer transport.Close()
	state := fetchAll(t, transport, http3.MethodGet0RTT, address)
	return state.DidResume && conn.ConnectionState().Used0RTT
}

func fetchAll(t *testing.T, transport http.RoundTripper, method, address string) *tls.ConnectionState {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+"/o/16KiB/a", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body) // with what comes before it, tickets
	if err != nil || response.StatusCode != http.StatusOK || len(body) != 16<<10 {
		t.Fatalf("status %d, %d bytes, %v", response.StatusCode, len(body), err)
	}
	return response.TLS
}

// TestUpgradeKeepsViewers: a node alone knows who watches after it was upgraded, and counts them against the limit.
func TestUpgradeKeepsViewers(t *testing.T) {
	n := newUpgradeNode(t, "", "sites: [{", "sites: [{pages: true, sdk: {assets: [{match: \"*\", hls: /o/16KiB/a, viewers: 1}]}, ")
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.http+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	const all = "/sdk/v1/sessions"
	status, text := ask(http.MethodPost, all, `{"asset":"demo"}`)
	id := regexp.MustCompile(`"session":"([^"]+)"`).FindStringSubmatch(strings.ReplaceAll(text, `": "`, `":"`))
	if status != http.StatusCreated || id == nil {
		t.Fatalf("a session: status %d, %s", status, text)
	}
	report := "/o/16KiB/a?CMCD=" + url.QueryEscape(`sid="s",cid="demo",ot=v,d=2000,br=3000`)
	if status, _ := ask(http.MethodGet, report, ""); status != http.StatusOK {
		t.Errorf("a report: status %d", status)
	}
	for i := range 2 {
		if out, code := n.weir(t, "upgrade"); code != exitOK {
			t.Fatalf("exit code %d, %s", code, out)
		}
		if status, text := ask(http.MethodPost, all+"/"+id[1]+"/heartbeat", `{"state":"p"}`); status != http.StatusOK {
			t.Errorf("after upgrade %d the session: status %d, %s", i+1, status, text)
		}
		if status, text := ask(http.MethodPost, all, `{"asset":"demo"}`); status == http.StatusCreated {
			t.Errorf("after upgrade %d one more session than may be: %s", i+1, text)
		}
		n.await(t, "the process before has ended", i+1)
		if v := n.viewers(t); v.Now != 1 || len(v.Rows) == 0 {
			t.Errorf("after upgrade %d: %+v; want one who watches", i+1, v)
		}
	}
	if status, text := ask(http.MethodDelete, all+"/"+id[1], ""); status != http.StatusNoContent {
		t.Errorf("the end of the session: status %d, %s", status, text)
	}
}

// viewers asks how they fare.
func (n *upgradeNode) viewers(t *testing.T) (v console.Viewers) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(n.dir, "state", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.admin+"/v1/viewers", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	return v
}

// TestUpgradeOfProcess1 is refused: the container would end with the old process, and the new one in it.
func TestUpgradeOfProcess1(t *testing.T) {
	t.Parallel()
	n := &node{options: nodeOptions{program: program{path: "/usr/bin/weir", pid: 1}}}
	if _, err := n.startSuccessor(); err == nil || !strings.Contains(err.Error(), "--init") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}
