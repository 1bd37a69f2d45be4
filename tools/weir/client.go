package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"weir/edge/console"
	"weir/edge/front"
)

// adminFlags say which node a command asks.
type adminFlags struct {
	Admin     string `help:"Operators' address of the node; with https:// before it where it speaks TLS." default:"127.0.0.1:7070" placeholder:"ADDR"`
	Dir       string `help:"State directory of the node, where admin.token lies." placeholder:"DIR"`
	TokenFile string `help:"File with the admin token. Default: admin.token in --dir; the environment's WEIR_ADMIN_TOKEN wins." placeholder:"FILE"`
	JSON      bool   `name:"json" help:"Print the API's answer as it is."`

	AdminCA   string `name:"admin-ca" help:"Roots that vouch for an https:// address (PEM). Default: the system's." placeholder:"FILE"`
	AdminCert string `name:"admin-cert" help:"Certificate to show there (PEM), where the node asks for one." placeholder:"FILE"`
	AdminKey  string `name:"admin-key" help:"Its private key (PEM)." placeholder:"FILE"`

	patience time.Duration // for an answer; 0: 10 s
}

const adminAnswerLimit = 16 << 20

// ask gets a path of the admin API.
func (f *adminFlags) ask(ctx context.Context, path string) ([]byte, error) {
	return f.send(ctx, http.MethodGet, path, nil)
}

// send asks the admin API for a path; a body that is not nil is JSON.
func (f *adminFlags) send(ctx context.Context, method, path string, content []byte) ([]byte, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(f.patience, 10*time.Second))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, f.base()+path, bytes.NewReader(content))
	if err != nil {
		return nil, usageError{err}
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	client, err := f.client()
	if err != nil {
		return nil, usageError{err}
	}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s (%w): is it running, and is --admin right?", f.Admin, rootCause(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, adminAnswerLimit))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", f.Admin, err)
	}
	return body, f.judge(response, body)
}

func (f *adminFlags) base() string {
	if strings.HasPrefix(f.Admin, "https://") {
		return strings.TrimSuffix(f.Admin, "/")
	}
	return "http://" + f.Admin
}

// client trusts and shows what the flags say.
func (f *adminFlags) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if config.RootCAs, err = readRoots("--admin-ca", f.AdminCA); err != nil {
		return nil, err
	}
	if f.AdminCert != "" || f.AdminKey != "" {
		pair, err := front.LoadCertificate(f.AdminCert, f.AdminKey)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, nil
}

// judge is nil for the answer that was asked for.
func (f *adminFlags) judge(response *http.Response, body []byte) error {
	var problem struct {
		Field, Detail string
	}
	_ = json.Unmarshal(body, &problem) // whatever it is, it is shown
	switch {
	case response.StatusCode == http.StatusOK, response.StatusCode == http.StatusAccepted:
		return nil
	case response.StatusCode == http.StatusUnauthorized:
		return usageError{fmt.Errorf("the node at %s does not take this token: name its state directory with --dir", f.Admin)}
	case problem.Field != "":
		return usageError{fmt.Errorf("%s: %s", problem.Field, problem.Detail)}
	case problem.Detail != "":
		return fmt.Errorf("the node at %s answers %s: %s", f.Admin, response.Status, problem.Detail)
	}
	return fmt.Errorf("the node at %s answers %s: %s", f.Admin, response.Status, strings.TrimSpace(string(body)))
}

func (f *adminFlags) token() (string, error) {
	if token := os.Getenv("WEIR_ADMIN_TOKEN"); token != "" {
		return token, nil
	}
	file := f.TokenFile
	if file == "" {
		dir := f.Dir
		if dir == "" {
			dir = defaultDir(hostName())
		}
		file = filepath.Join(dir, "admin.token")
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return "", usageError{fmt.Errorf("read the admin token: %w: name the node's state directory with --dir", err)}
	}
	return strings.TrimSpace(string(token)), nil
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// statusCommand shows how a node is.
type statusCommand struct {
	adminFlags

	Viewers bool `help:"Who watches what in the region, and how viewers have fared in the last day."`
}

// Run prints the status; a node that is not ready makes the exit code 1.
func (c *statusCommand) Run(ctx context.Context, std streams) error {
	if c.Viewers {
		return c.viewers(ctx, std)
	}
	body, err := c.ask(ctx, "/v1/status")
	if err != nil {
		return err
	}
	var s console.Status
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	members, err := c.members(ctx)
	if err != nil {
		return err
	}
	printStatus(std.out, &s, members)
	if !s.Ready {
		return fmt.Errorf("%s is not ready: %s", s.Name, s.Summary)
	}
	return nil
}

func (c *statusCommand) viewers(ctx context.Context, std streams) error {
	body, err := c.ask(ctx, "/v1/viewers")
	if err != nil {
		return err
	}
	var v console.Viewers
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("read how viewers fare: %w", err)
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	printViewers(std.out, &v)
	return nil
}

// printViewers prints what is playing, what falls behind, and a table of all that figures are by.
func printViewers(w io.Writer, v *console.Viewers) {
	fmt.Fprintf(w, "%s open, of %s; %s now\n", plural(v.Playing.Sessions, "play session"), plural(len(v.Playing.Titles), "title"), plural(v.Now, "reporting player"))
	if len(v.Missing) > 0 {
		fmt.Fprintf(w, "without what %s knows: no answer\n", strings.Join(v.Missing, ", "))
	}
	for _, hint := range v.Hints {
		wrap(w, "! ", hint)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(v.Playing.Titles) > 0 {
		fmt.Fprintln(t, "\nPLAYING\tSESSIONS\tDEVICES")
	}
	for _, title := range v.Playing.Titles {
		var devices []string
		for _, device := range slices.Sorted(maps.Keys(title.Devices)) {
			devices = append(devices, fmt.Sprintf("%s %d", dash(device), title.Devices[device]))
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", title.Name, title.Sessions, strings.Join(devices, ", "))
	}
	_ = t.Flush()
	if len(v.Rows) > 0 {
		fmt.Fprintln(t, "\nBY\tNAME\tNOW\tSESSIONS\tWATCHED\tSTART-UP\tIN STALLS\tKBIT/S\tERRORS")
	}
	for i := range v.Rows {
		row := &v.Rows[i]
		start := "-"
		if row.Started > 0 {
			start = rounded(row.StartUpP50, time.Millisecond)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%.1f %%\t%.0f\t%.1f %%\n", row.By, row.Name, row.Now, row.Sessions, rounded(row.WatchedSeconds, time.Second),
			start, 100*row.StallRatio, row.BitrateKbps, 100*row.ErrorRatio)
	}
	_ = t.Flush()
}

func rounded(s float64, unit time.Duration) string {
	return time.Duration(s * float64(time.Second)).Round(unit).String()
}

func (f *adminFlags) members(ctx context.Context) ([]console.Member, error) {
	body, err := f.ask(ctx, "/v1/members")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Members []console.Member `json:"members"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read the members: %w", err)
	}
	return answer.Members, nil
}

func printStatus(w io.Writer, s *console.Status, members []console.Member) {
	fmt.Fprintf(w, "%s  %s  up %s  version %s\n", s.Name, s.State, time.Duration(s.UptimeSeconds*float64(time.Second)).Round(time.Second), s.Version)
	if len(s.Problems) != 1 || !s.Ready { // else it would say twice what is wrong
		wrap(w, "", s.Summary)
	}
	for _, p := range s.Problems {
		wrap(w, "! ", p.What)
		wrap(w, "  ", p.Why)
		wrap(w, "  ", p.Fix)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	served := s.Requests.Hit + s.Requests.Stale + s.Requests.Collapsed
	fmt.Fprintf(t, "requests\t%d, %s from the cache; h1 %d, h2 %d, h3 %d\n", s.Requests.Total, share(float64(served), float64(s.Requests.Total-s.Requests.Local-s.Requests.Refused)), s.Protocols.H1, s.Protocols.H2, s.Protocols.H3)
	fmt.Fprintf(t, "bytes\t%s sent, %s from the origin, %s from members\n", size(s.Bytes.Sent), size(s.Bytes.FromOrigin), size(s.Bytes.FromPeer))
	fmt.Fprintf(t, "cache\t%d objects; disk %s of %s, memory %s of %s\n", s.Cache.Objects, size(s.Cache.DiskBytes), size(s.Cache.DiskLimit), size(s.Cache.MemoryBytes), size(s.Cache.MemoryLimit))
	fmt.Fprintf(t, "now\t%d connections, %d fills\n", s.Connections, s.Fills)
	fmt.Fprintf(t, "ring\t%s, %s%s\n", s.Ring.Version, plural(s.Ring.Nodes, "node"), differ(s.Ring.Differ))
	if p := s.PurgeLog; p != nil {
		fmt.Fprintf(t, "purges\t%s; %d missing here, %d of others obeyed, %d posted, %d not acknowledged in time\n", p.State, p.Lag, p.Received, p.Posted, p.Unacknowledged)
	}
	for _, b := range []struct {
		what string
		*console.Budget
	}{{"retries", s.Budgets.PeerRetries}, {"hedges", s.Budgets.Hedges}, {"origin retries", &s.Budgets.OriginRetries}} {
		if b.Budget != nil {
			fmt.Fprintf(t, "%s\t%s\n", b.what, budget(b.Budget))
		}
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	printMembers(w, members)
}

// wrap prints a text in lines of 100 columns; the lines after the first are indented as far as the first text is.
func wrap(w io.Writer, before, text string) {
	const columns = 100
	line := before
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == before:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns:
			fmt.Fprintln(w, line)
			line = strings.Repeat(" ", len(before)) + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(w, line)
}

func differ(members []string) string {
	if len(members) == 0 {
		return ""
	}
	return "; another one at " + strings.Join(members, ", ")
}

func budget(b *console.Budget) string {
	left := "budget left"
	if b.UsedUp {
		left = "budget used up"
	}
	return fmt.Sprintf("%s; %d sent, %d refused", left, b.Sent, b.Refused)
}

// printMembers keeps the table within 120 columns for names and addresses of usual lengths; what does not fit into a
// column, such as an error, stands below.
func printMembers(w io.Writer, members []console.Member) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MEMBER\tSTATE\tWHERE\tADDRESS\tBUILD\tWEIGHT\tANSWERS\tP95\tRUNNING\tBREAKER\tSINCE")
	for _, m := range members {
		name := m.Name
		if m.Self {
			name += " *"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%g\t%s\t%s\t%d\t%s\t%s\n",
			name, m.State, where(&m), dash(m.Address), dash(m.Build), m.Weight, dash(m.Answers), p95(&m), m.Running, breaker(&m), since(m.Since))
	}
	_ = t.Flush()
	for _, m := range members {
		if m.Error != "" {
			fmt.Fprintf(w, "  %s: %s\n", m.Name, m.Error)
		}
	}
	printSecrets(w, members)
}

// printSecrets tells which secrets the members accept, that in use first: one line while all have the same.
func printSecrets(w io.Writer, members []console.Member) {
	if len(members) == 0 || members[0].Keys == "" {
		return
	}
	if !slices.ContainsFunc(members, func(m console.Member) bool { return m.Keys != members[0].Keys }) {
		fmt.Fprintf(w, "secrets  %s, on all nodes\n", members[0].Keys)
		return
	}
	for _, m := range members {
		fmt.Fprintf(w, "secrets  %s, on %s\n", dash(m.Keys), m.Name)
	}
}

// where is region and zone, as far as they are told.
func where(m *console.Member) string {
	return dash(strings.Trim(m.Region+"/"+m.Zone, "/"))
}

// p95 is how long the first sign of life of a member takes at most, 19 of 20 times.
func p95(m *console.Member) string {
	if m.P95 == 0 {
		return "-"
	}
	return time.Duration(m.P95 * float64(time.Second)).Round(100 * time.Microsecond).String()
}

func breaker(m *console.Member) string {
	state := dash(m.Breaker.State)
	if m.Breaker.Until != nil {
		state += " " + max(time.Until(*m.Breaker.Until), 0).Round(time.Second).String()
	}
	if m.Breaker.Opened > 0 {
		state += fmt.Sprintf(" (%d×)", m.Breaker.Opened)
	}
	return state
}

// since is how long a state lasts, in its two largest units.
func since(t time.Time) string {
	d := max(time.Since(t), 0).Round(time.Second)
	switch {
	case t.IsZero():
		return "-"
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}

// ringCommand shows who owns a URL.
type ringCommand struct {
	adminFlags

	URL string `arg:"" optional:"" help:"The URL to look up; a path alone is one on localhost."`
}

// Run prints the owners of the URL, or the members when none is given.
func (c *ringCommand) Run(ctx context.Context, std streams) error {
	if c.URL == "" {
		members, err := c.members(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(members)
		}
		printMembers(std.out, members)
		return nil
	}
	if strings.HasPrefix(c.URL, "/") {
		c.URL = "https://localhost" + c.URL
	}
	body, err := c.ask(ctx, "/v1/ring?url="+url.QueryEscape(c.URL))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	var route console.Route
	if err := json.Unmarshal(body, &route); err != nil {
		return fmt.Errorf("read the route: %w", err)
	}
	fmt.Fprintf(std.out, "key     %s\nring    %s\nowners  %s\n%s\n", route.Key, route.Ring, dash(strings.Join(route.Owners, ", ")), route.Why)
	return nil
}

func share(part, whole float64) string {
	if whole <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*part/whole)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// size prints bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/1024, 0
	for value >= 1024 && i < len(units)-1 {
		value, i = value/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[i])
}
