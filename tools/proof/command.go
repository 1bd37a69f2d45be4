package proof

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseCommand checks one line.
func parseCommand(words []string) (command, error) {
	args := words[1:]
	parse, ok := map[string]func([]string) (command, error){
		"origin": parseOrigin, "rule": parseRule, "node": parseNode, "nodes": parseNodes,
		"client": parseRequest, "start": parseStart, "wait": parseWait, "expect": parseExpect,
		"fault": parseFault, "clear": parseClear, "release": parseRelease, "bump": parseBump,
		"kill": parseKill, "cut": parseCut, "heal": parseHeal, "delay": parseDelay, "loss": parseLoss, "late": parseLate, "throttle": parseThrottle,
		"advance": parseAdvance, "do": parseDo, "purged": parsePurged, "staleness": parseStaleness,
	}[words[0]]
	if !ok {
		return nil, errors.New("unknown verb")
	}
	return parse(args)
}

// need checks the number of words; most < 0 is no limit.
func need(args []string, least, most int, usage string) error {
	if len(args) < least || most >= 0 && len(args) > most {
		return fmt.Errorf("want %s", usage)
	}
	return nil
}

type originCommand struct {
	name, host string
	rule       Rule
	hasRule    bool
}

func parseOrigin(args []string) (command, error) {
	if err := need(args, 1, -1, "NAME [host=HOST] [RULE…]"); err != nil {
		return nil, err
	}
	options, err := parseOptions(args[1:])
	if err != nil {
		return nil, err
	}
	c := &originCommand{name: args[0], host: options["host"]}
	delete(options, "host")
	c.hasRule = len(options) > 0
	c.rule, err = ruleOf(options)
	return c, err
}

type ruleCommand struct {
	pattern string
	rule    Rule
}

func parseRule(args []string) (command, error) {
	if err := need(args, 2, -1, "PATTERN RULE…"); err != nil {
		return nil, err
	}
	options, err := parseOptions(args[1:])
	if err != nil {
		return nil, err
	}
	rule, err := ruleOf(options)
	return &ruleCommand{args[0], rule}, err
}

// ruleOf reads a rule from options: size, cache-control, content-type, status,
// vary, keyed, reflect (names with commas between them), every, chunked, no-range,
// no-validator, header.NAME.
func ruleOf(options map[string]string) (Rule, error) {
	var r Rule
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		var err error
		switch key {
		case "size":
			r.Size, err = ParseSize(value)
		case "cache-control":
			r.CacheControl = value
		case "content-type":
			r.ContentType = value
		case "status":
			if r.Status, err = strconv.Atoi(value); err == nil && (r.Status < 200 || r.Status > 999) {
				err = errors.New("out of range")
			}
		case "vary":
			r.Vary = strings.Split(value, ",")
		case "keyed":
			r.Keyed = strings.Split(value, ",")
		case "reflect":
			r.Reflect = strings.Split(value, ",")
		case "every":
			r.Every, err = parseDuration(value)
		case "chunked":
			r.Chunked = true
		case "no-range":
			r.NoRange = true
		case "no-validator":
			r.NoValidator = true
		default:
			name, ok := strings.CutPrefix(key, "header.")
			if !ok {
				return r, fmt.Errorf("rule %s: unknown", key)
			}
			if r.Header == nil {
				r.Header = http.Header{}
			}
			r.Header.Set(name, value)
		}
		if err != nil {
			return r, fmt.Errorf("rule %s=%s: %w", key, value, err)
		}
	}
	return r, nil
}

// nodeCommand is node and nodes.
type nodeCommand struct {
	names   []string
	options map[string]string
}

func parseNode(args []string) (command, error) {
	if err := need(args, 1, -1, "NAME [OPTION…]"); err != nil {
		return nil, err
	}
	options, err := parseOptions(args[1:])
	return &nodeCommand{args[:1], options}, err
}

// mostNodes is what one line may start.
const mostNodes = 1000

func parseNodes(args []string) (command, error) {
	if err := need(args, 2, -1, "NAME COUNT [OPTION…]"); err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(args[1])
	if err != nil || count < 1 || count > mostNodes {
		return nil, fmt.Errorf("%q is not a count from 1 to %d", args[1], mostNodes)
	}
	c := &nodeCommand{}
	for i := range count {
		c.names = append(c.names, args[0]+"-"+strconv.Itoa(i+1))
	}
	c.options, err = parseOptions(args[2:])
	return c, err
}

type waitCommand struct{ client string }

func parseWait(args []string) (command, error) {
	if err := need(args, 1, 1, "CLIENT"); err != nil {
		return nil, err
	}
	return &waitCommand{args[0]}, nil
}

type faultCommand struct {
	origin, pattern string
	faults          []Fault
}

func parseFault(args []string) (command, error) {
	if err := need(args, 3, -1, "ORIGIN PATTERN FAULT… [skip=N] [times=N]"); err != nil {
		return nil, err
	}
	c := &faultCommand{origin: args[0], pattern: args[1]}
	var skip, times int
	for _, w := range args[2:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "skip":
			skip, err = strconv.Atoi(value)
		case "times":
			times, err = strconv.Atoi(value)
		default:
			var f Fault
			if f, err = ParseFault(w); err == nil {
				c.faults = append(c.faults, f)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if len(c.faults) == 0 || skip < 0 || times < 0 {
		return nil, errors.New("no fault, or a negative count")
	}
	for i := range c.faults {
		c.faults[i].Skip, c.faults[i].Times = skip, times
	}
	return c, nil
}

type clearCommand struct{ origin string }

func parseClear(args []string) (command, error) {
	if err := need(args, 1, 1, "ORIGIN"); err != nil {
		return nil, err
	}
	return &clearCommand{args[0]}, nil
}

type releaseCommand struct{ origin, pattern string }

func parseRelease(args []string) (command, error) {
	if err := need(args, 2, 2, "ORIGIN PATTERN"); err != nil {
		return nil, err
	}
	return &releaseCommand{args[0], args[1]}, nil
}

type bumpCommand struct{ pattern string }

func parseBump(args []string) (command, error) {
	if err := need(args, 1, 1, "PATTERN"); err != nil {
		return nil, err
	}
	return &bumpCommand{args[0]}, nil
}

type purgedCommand struct{ pattern string }

func parsePurged(args []string) (command, error) {
	if err := need(args, 1, 1, "PATTERN"); err != nil {
		return nil, err
	}
	return &purgedCommand{args[0]}, nil
}

type stalenessCommand struct{ bound time.Duration }

func parseStaleness(args []string) (command, error) {
	if err := need(args, 1, 1, "DURATION"); err != nil {
		return nil, err
	}
	d, err := parseDuration(args[0])
	return &stalenessCommand{d}, err
}

type killCommand struct{ name string }

func parseKill(args []string) (command, error) {
	if err := need(args, 1, 1, "NODE"); err != nil {
		return nil, err
	}
	return &killCommand{args[0]}, nil
}

type cutCommand struct {
	from, to string
	oneWay   bool
}

func parseCut(args []string) (command, error) {
	if len(args) == 3 && args[1] == "->" {
		return &cutCommand{args[0], args[2], true}, nil
	}
	if err := need(args, 2, 2, "A B, or A -> B"); err != nil {
		return nil, err
	}
	return &cutCommand{args[0], args[1], false}, nil
}

type healCommand struct{ a, b string }

func parseHeal(args []string) (command, error) {
	if len(args) == 0 {
		return &healCommand{"*", "*"}, nil
	}
	if err := need(args, 2, 2, "A B, or nothing"); err != nil {
		return nil, err
	}
	return &healCommand{args[0], args[1]}, nil
}

type delayCommand struct {
	a, b string
	d    time.Duration
}

func parseDelay(args []string) (command, error) {
	if err := need(args, 3, 3, "A B DURATION"); err != nil {
		return nil, err
	}
	d, err := parseDuration(args[2])
	return &delayCommand{args[0], args[1], d}, err
}

type lateCommand struct {
	from, to string
	d        time.Duration // negative: for ever
}

func parseLate(args []string) (command, error) {
	if len(args) != 4 || args[1] != "->" {
		return nil, errors.New("want A -> B DURATION|forever")
	}
	if args[3] == "forever" {
		return &lateCommand{args[0], args[2], Never}, nil
	}
	d, err := parseDuration(args[3])
	return &lateCommand{args[0], args[2], d}, err
}

type throttleCommand struct {
	from, to       string
	bytesPerSecond int64
}

func parseThrottle(args []string) (command, error) {
	if len(args) != 4 || args[1] != "->" {
		return nil, errors.New("want A -> B BYTES")
	}
	n, err := ParseSize(args[3])
	return &throttleCommand{args[0], args[2], n}, err
}

type lossCommand struct {
	a, b  string
	share float64
}

func parseLoss(args []string) (command, error) {
	if err := need(args, 3, 3, "A B SHARE"); err != nil {
		return nil, err
	}
	share, err := strconv.ParseFloat(args[2], 64)
	if err != nil || share < 0 || share > 1 {
		return nil, fmt.Errorf("share %q is not between 0 and 1", args[2])
	}
	return &lossCommand{args[0], args[1], share}, nil
}

type advanceCommand struct{ d time.Duration }

func parseAdvance(args []string) (command, error) {
	if err := need(args, 1, 1, "DURATION"); err != nil {
		return nil, err
	}
	d, err := parseDuration(args[0])
	return &advanceCommand{d}, err
}

type doCommand struct {
	node  string
	words []string
}

func parseDo(args []string) (command, error) {
	if err := need(args, 2, -1, "NODE WORDS…"); err != nil {
		return nil, err
	}
	return &doCommand{args[0], args[1:]}, nil
}
