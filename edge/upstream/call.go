package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Callee is a node to call.
type Callee struct {
	Name    string
	Address string // host:port of its peers' listener
	Far     bool   // in another region: a connection may take longer
}

// Call posts a short message to a path of a node, over the same connection as fetches, and returns
// the answer, up to limit bytes. What happens to it says nothing about the node as an upstream: no breaker, no budget.
// Its wait is ctx's. Any status but 200 is an error.
func (p *Peers) Call(ctx context.Context, to Callee, path string, message []byte, limit int64) ([]byte, error) {
	name, node := to.Name, p.learn(to.Name, to.Address, to.Far)
	target := url.URL{Scheme: p.scheme(), Host: name, Path: path}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header["User-Agent"] = nil
	if p.options.Sign != nil {
		p.options.Sign(r, name, message)
	}
	resp, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	defer resp.Body.Close()
	p.listen(node, resp.Header)
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("call %s: %w", name, err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("call %s: status %d: %.200s", name, resp.StatusCode, strings.TrimSpace(string(text)))
	case int64(len(text)) > limit:
		return nil, fmt.Errorf("call %s: an answer of more than %d bytes", name, limit)
	}
	return text, nil
}
