package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// keptOpen is a connection on which one request after the other is sent.
type keptOpen struct {
	net.Conn
	from *bufio.Reader
}

func openKept(address string) (*keptOpen, error) {
	c, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return nil, err
	}
	return &keptOpen{Conn: c, from: bufio.NewReader(c)}, nil
}

// ask returns the status, 0 where no whole answer came.
func (k *keptOpen) ask(path string) int {
	_ = k.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(k, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		return 0
	}
	response, err := http.ReadResponse(k.from, nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}

// TestIdleConnectionsAtTheDescriptorLimit: a process that may open few files gets more keep-alive connections than that, by
// its own bound and with a bound that promises more than there is. It goes on to serve what is stored, on connections that
// are open and on new ones, does not run hot, and takes no time to recover. It measures, so nothing runs beside it.
func TestIdleConnectionsAtTheDescriptorLimit(t *testing.T) { //nolint:paralleltest // see above
	for _, tt := range []struct {
		name         string
		files, conns int
		listen       string
	}{
		{"256", 256, 2500, ""}, {"1024", 1024, 6000, ""}, {"256 and no bound", 256, 2500, ", connections: {total: 100000}"},
	} {
		t.Run(tt.name, func(t *testing.T) { crowdAtTheLimit(t, tt.files, tt.conns, tt.listen) })
	}
}

func crowdAtTheLimit(t *testing.T, files, conns int, bound string) {
	t.Helper()
	oracle := proof.NewOracle(t.Name())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proof.Serve(listener, proof.NewOrigin(proof.OriginOptions{Oracle: oracle, Host: "127.0.0.1"}), nil))
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	text := fmt.Sprintf("node: {name: edge-1, dir: %s}\nlisten: {http: \"127.0.0.1:0\", https: \"\", admin: \"127.0.0.1:0\"%s}\nsites: [{hosts: [\"*\"], origins: [\"http://%s\"]}]\n", dir, bound, listener.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d && exec \"$0\" \"$@\"", files), self, "edge", "-c", file)
	cmd.Env = childEnv(t, asWeir+"=1")
	cmd.Dir = "../.."
	p := startProcess(t, cmd)
	address := p.await(t, ` http=(127\.0\.0\.1:\d+)`)
	const path = "/o/4KiB/hot"
	regular, err := openKept(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = regular.Close() }()
	if status := regular.ask(path); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	var crowd []*keptOpen
	defer func() {
		for _, c := range crowd {
			_ = c.Close()
		}
	}()
	answered, served, silent := 0, 0, 0
	for i := range conns {
		c, err := openKept(address)
		if err != nil {
			continue
		}
		crowd = append(crowd, c)
		begun := time.Now()
		if c.ask(path) == http.StatusOK {
			answered++
		} else if time.Since(begun) >= time.Minute { // it was neither answered nor closed
			if silent++; silent == 2 {
				t.Fatalf("%d connections hear nothing for a minute, of %d of which %d are answered", silent, i+1, answered)
			}
		}
		if i%50 == 0 && regular.ask(path) == http.StatusOK { // so it is never the one that is idle for longest
			served++
		}
	}
	asked := (conns + 49) / 50
	// Who is not answered is more than what the node may keep; it is one that gave way meanwhile at most.
	if served < asked || answered*10 < conns*9 {
		t.Errorf("%d of %d requests on an open connection answered, %d of %d on new ones", served, asked, answered, conns)
	}
	before, since := processTime(t, p.cmd.Process.Pid), time.Now()
	<-time.After(2 * time.Second) // a process that is left alone, at its limit
	if used, over := processTime(t, p.cmd.Process.Pid)-before, time.Since(since); used > over/4 {
		t.Errorf("it took %v of a processor in %v of rest", used, over)
	}
	for _, c := range crowd {
		_ = c.Close()
	}
	begun := time.Now()
	if late, err := openKept(address); err != nil {
		t.Error(err)
	} else {
		if status := late.ask("/o/4KiB/other"); status != http.StatusOK { // which needs a descriptor or two more
			t.Errorf("after the crowd has left: status %d", status)
		}
		_ = late.Close()
	}
	t.Logf("ulimit %d: %d of %d connections answered, %d of %d requests on the one before; %v after they left the next answer", files, answered, conns, served, asked, time.Since(begun))
}

// processTime is what a process has had of processors.
func processTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err) // no Linux
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // proc(5): utime is the 14th, this begins with the third
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}
