package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/tools/proof"
)

// The flags of TestAttacks.
var (
	attackMeasure = flag.Bool("attack", false, "measure attacks: hold honest clients' p99 to three times that of before, too; see TestAttacks")
	attackRounds  = flag.Int("attack.rounds", 1, "how often each attack goes on and ends")
	attackWindow  = flag.Duration("attack.window", 400*time.Millisecond, "how long an attack goes on, and how long the node has peace before")
	attackProfile = flag.String("attack.profile", "", "`directory` for a CPU profile of the node under each attack")
)

// asActor makes the test binary play a part in TestAttacks: the attacker, or the honest client.
const asActor = "WEIR_TEST_AS_ACTOR"

const (
	attackSecret = "attacks"            // of the oracle: the honest client knows what it should get
	attackHot    = "/o/16KiB/hot.m4s"   // what it asks for
	attackPause  = 2 * time.Millisecond // between two of its requests
	attackRatio  = 10                   // our CPU for each second of the attacker's
	attackDelay  = 3                    // the honest client's p99, for each millisecond of before
	attackLeast  = 20                   // part of one processor that an attacker needs to be one
	attackMemory = 128 << 20            // what an attack may add to what the node has resident
)

// actor is a process that does what it is told, a line at a time.
type actor struct {
	pid int
	in  io.WriteCloser
	out *bufio.Reader
}

// startActor runs the test binary again. An idle one gets what the others leave of the processors: an attacker's are
// not those of the node.
func startActor(t *testing.T, idle bool, args ...string) *actor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = childEnv(t, asActor+"="+map[bool]string{true: "idle", false: "normal"}[idle])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill() // it has nothing to tell any more
		_ = cmd.Wait()
	})
	a := &actor{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
	a.ask(t, new(any), "ready")
	return a
}

// ask sends a line and reads the answer.
func (a *actor) ask(t *testing.T, answer any, line ...any) {
	t.Helper()
	a.tell(t, line...)
	a.hear(t, answer)
}

func (a *actor) tell(t *testing.T, line ...any) {
	t.Helper()
	if _, err := fmt.Fprintln(a.in, line...); err != nil {
		t.Fatal(err)
	}
}

func (a *actor) hear(t *testing.T, answer any) {
	t.Helper()
	text, err := a.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		t.Fatalf("%q, %v", text, err)
	}
}

// act is what an actor does; it returns when nobody tells it anything any more.
func act(priority string, args []string) {
	if priority == "idle" {
		becomeIdle()
	}
	p, lines := newPart(args), bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "ready" {
			fmt.Println("{}")
			continue
		}
		text, err := json.Marshal(p.play(strings.Fields(lines.Text())))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}

// part is what an actor is told to do; an answer is for JSON.
type part interface {
	play(words []string) (answer any)
}

func newPart(args []string) part {
	switch args[0] {
	case "client":
		return newHonest(args[1:])
	case "viewers":
		return &viewers{address: args[1]}
	default:
		return newSender(args)
	}
}

// becomeIdle takes the lowest priority that there is, for all threads: those that there are would keep theirs. It counts
// against the tasks of the same session only: where a session has an autogroup (sched(7)), those of another one wait until the
// time of this one's is over, milliseconds. So node, client and attacker share the session of the test.
func becomeIdle() {
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE, Nice: 0}, 0) // it then has its share
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, asActor+"=") })
	panic(syscall.Exec("/proc/self/exe", os.Args, append(env, asActor+"=is idle")))
}

// prioritise has the session of the test go before other programs of the machine until the test ends; it does nothing where
// sessions have no autogroups, or it may not.
func prioritise(t *testing.T) {
	t.Helper()
	set := func(nice string) { _ = os.WriteFile("/proc/self/autogroup", []byte(nice), 0) } // as it says
	set("-15")
	t.Cleanup(func() { set("0") })
}

// processorTime is what a process has used, user and system.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	const sched = 2                 // CPUCLOCK_SCHED of the kernel: all threads, in nanoseconds
	clock := int32(^pid<<3 | sched) // as clock_getcpuclockid(3) makes it
	var at unix.Timespec
	if err := unix.ClockGettime(clock, &at); err != nil {
		t.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// attacked is a node under attack, and what is known of it.
type attacked struct {
	*process

	http, https, admin, token string
	profiler                  string
}

// startAttacked starts a node in front of an origin, with more lines of configuration and variables of the environment.
func startAttacked(t *testing.T, more string, environment ...string) *attacked {
	t.Helper()
	oracle := proof.NewOracle(attackSecret)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proof.Serve(listener, proof.NewOrigin(proof.OriginOptions{Oracle: oracle, Host: "127.0.0.1"}), nil))
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	text := fmt.Sprintf("node: {name: edge-1, dir: %s}\ncache: {disk: 256MiB, memory: 64MiB}\n"+
		"listen: {http: \"127.0.0.1:0\", https: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", connections: {penalty_exempt: [127.0.0.1]}}\nsites: [{hosts: [\"*\"], origins: [\"http://%s\"]}]\n%s", dir, listener.Addr(), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &attacked{}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "edge", "-c", file)
	cmd.Env = childEnv(t, asWeir+"=1")
	if *attackProfile != "" {
		n.profiler = freePorts(t, 1)[0]
		cmd = exec.Command(self, "-test.run=^TestCompareProfiled$", "-test.timeout=0", "--", "edge", "-c", file)
		cmd.Env = childEnv(t, profiledWeir+"="+n.profiler)
	}
	cmd.Env = append(cmd.Env, environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.process = startProcess(t, cmd)
	line := n.await(t, `(msg="edge is up".*)`)
	field := func(name string) string {
		return regexp.MustCompile(` ` + name + `=(127\.0\.0\.1:\d+)`).FindStringSubmatch(line)[1]
	}
	n.http, n.https, n.admin = field("http"), field("https"), field("admin")
	n.token = readToken(t, dir)
	awaitReady(t, n.admin)
	return n
}

// memory is what the process has resident, and the most that it had since it was last asked.
func (n *attacked) memory(t *testing.T) (now, most int64) {
	t.Helper()
	pid := n.cmd.Process.Pid
	now, most = processMemory(t, pid, "VmRSS:"), processMemory(t, pid, "VmHWM:")
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // then it is the most since the start
	return now, most
}

// processMemory is what the kernel has noted of the memory of a process, in bytes.
func processMemory(t *testing.T, pid int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err) // no Linux
	}
	_, after, _ := strings.Cut(string(text), name)
	n, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	return n << 10
}

var refusedLine = regexp.MustCompile(`(?m)^weir_(?:front_)?refusals_total\{[^}]*reason="([^"]+)"[^}]*\} ([0-9.e+]+)$`)

// refused is how often the node has refused something, by the reason.
func (n *attacked) refused(t *testing.T) map[string]int64 {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+n.token)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for _, match := range refusedLine.FindAllStringSubmatch(string(text), -1) {
		if count, _ := strconv.ParseFloat(match[2], 64); count > 0 {
			all[match[1]] += int64(count)
		}
	}
	return all
}

// profile writes a CPU profile of the next second; the returned func waits for it.
func (n *attacked) profile(t *testing.T, name string) (wait func()) {
	t.Helper()
	if n.profiler == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { // ends with the profile
		url := fmt.Sprintf("http://%s/?seconds=%d", n.profiler, max(1, int(attackWindow.Seconds())))
		done <- download(url, filepath.Join(*attackProfile, strings.NewReplacer(" ", "-", "/", "-", ",", "").Replace(name)+".pprof"))
	}()
	return func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// sentReport is what an attacker tells when it has stopped.
type sentReport struct {
	Units, Connections int64 // what it sent, and over how many connections
	Failed             int64 // those that could not be made, or were reset at once
	Error              string
}

// heardReport is what an honest client tells: how long each request took, and what was wrong.
type heardReport struct {
	Took   []time.Duration
	Errors []string
}

func waitOf(took []time.Duration, p int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[(len(sorted)-1)*p/100]
}

// TestAttacks lets an honest client ask for a stored object while a node is attacked: each is a process, the attacker one of
// the lowest priority, as its processors are not ours, and sends what it can. Of each attack the log has what was sent, what
// that has cost both sides, and how long the honest client waited, with the attack and between attacks. With -attack, on a
// machine with nothing else to do, the wait is judged, too, beside that of the client of a node that nobody attacks: a flood of
// connections on loopback is the machine's work as well.
//
//	go test ./tools/weir -run TestAttacks -attack -attack.rounds 3 -attack.window 2s -v -timeout 30m
func TestAttacks(t *testing.T) { //nolint:paralleltest // it measures
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	if raceDetector() {
		t.Skip("the race detector makes the node's CPU another one")
	}
	if *attackMeasure {
		prioritise(t)
	}
	t.Logf("%-28s %9s %8s %8s %8s %6s %7s   %-26s %-26s %s", "attack", "sent/s", "conns/s", "their s", "our s", "ratio", "MiB", "idle p50 p99", "attacked p50 p99", "p99 ratio (of a node beside it), refused")
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			n := startAttacked(t, "")
			clientOf := func(n *attacked) *actor {
				url := "https://" + n.https
				if a.honest == proof.H1 {
					url = "http://" + n.http
				}
				return startActor(t, false, "client", string(a.honest), url+attackHot)
			}
			honest, neighbour := clientOf(n), (*actor)(nil)
			if *attackMeasure {
				neighbour = clientOf(startAttacked(t, ""))
			}
			attacker := startActor(t, true, "attacker", a.name, n.http, n.https, fmt.Sprintf("127.%d.1.1", i+10))
			machine := map[string][]time.Duration{} // what the client of a node waits that nobody attacks
			listen := func(line string) heardReport {
				var heard, elsewhere heardReport
				honest.tell(t, line, attackWindow.String())
				if neighbour != nil {
					neighbour.ask(t, &elsewhere, line, attackWindow.String())
					machine[line] = append(machine[line], elsewhere.Took...)
				}
				honest.hear(t, &heard)
				for _, text := range heard.Errors[:min(3, len(heard.Errors))] {
					t.Errorf("an honest client, %s: %s", line, text)
				}
				return heard
			}
			listen("warm")
			var before, during heardReport
			var sent sentReport
			var peace, ours, theirs, attackTime time.Duration
			rest, _ := n.memory(t)
			most := int64(0)
			for range *attackRounds {
				used := processorTime(t, n.cmd.Process.Pid)
				before.Took = append(before.Took, listen("idle").Took...)
				peace += processorTime(t, n.cmd.Process.Pid) - used
				profiled := n.profile(t, a.name)
				begun, mine, yours := time.Now(), processorTime(t, n.cmd.Process.Pid), processorTime(t, attacker.pid)
				var done sentReport
				attacker.ask(t, &done, "on")
				during.Took = append(during.Took, listen("attacked").Took...)
				ours += processorTime(t, n.cmd.Process.Pid) - mine
				theirs += processorTime(t, attacker.pid) - yours
				attackTime += time.Since(begun)
				attacker.ask(t, &done, "off")
				profiled()
				sent.Units, sent.Connections, sent.Failed = sent.Units+done.Units, sent.Connections+done.Connections, sent.Failed+done.Failed
				sent.Error = cmp.Or(done.Error, sent.Error)
				_, peak := n.memory(t)
				most = max(most, peak)
			}
			ours -= peace * time.Duration(len(during.Took)) / time.Duration(len(before.Took)) // the honest client's
			ratio := float64(ours) / float64(theirs)
			p99, was := waitOf(during.Took, 99), waitOf(before.Took, 99)
			slower := float64(p99) / float64(was)
			beside := float64(waitOf(machine["attacked"], 99)) / float64(max(1, waitOf(machine["idle"], 99)))
			t.Logf("%-28s %9.0f %8.0f %8.2f %8.2f %6.2f %7.1f   %-26s %-26s %.1f (%.1f) %v (%d+%d asked, %d failed %s)", a.name,
				float64(sent.Units)/attackTime.Seconds(), float64(sent.Connections)/attackTime.Seconds(), theirs.Seconds(), ours.Seconds(), ratio,
				float64(most-rest)/(1<<20),
				fmt.Sprint(waitOf(before.Took, 50).Round(10*time.Microsecond), " ", was.Round(10*time.Microsecond)),
				fmt.Sprint(waitOf(during.Took, 50).Round(10*time.Microsecond), " ", p99.Round(10*time.Microsecond)),
				slower, beside, n.refused(t), len(before.Took), len(during.Took), sent.Failed, sent.Error)
			if sent.Units == 0 {
				t.Logf("nothing was sent: %+v", sent)
			}
			if most := cmp.Or(a.ratio, attackRatio); theirs >= attackTime/attackLeast && ratio > most {
				t.Errorf("our CPU is %.1f times theirs, want at most %.0f", ratio, most)
			}
			if most-rest > attackMemory {
				t.Errorf("the node took %d MiB more", (most-rest)>>20)
			}
			if *attackMeasure && slower > attackDelay*max(1, beside) {
				t.Errorf("an honest client waits %.1f times as long, and %.1f times at a node that is not attacked", slower, beside)
			}
		})
	}
}
