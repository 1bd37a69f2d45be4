package main

import (
	"context"
	"crypto/tls"
	"time"

	"weir/tools/proof"
)

// honest is a client that asks for one object again and again over one connection, and checks every byte.
type honest struct {
	client *proof.Client
	url    string
}

// newHonest takes a protocol and a URL.
func newHonest(args []string) *honest {
	client, err := proof.NewClient(proof.ClientOptions{
		Oracle: proof.NewOracle(attackSecret), Protocol: proof.Protocol(args[0]), Name: "honest",
		TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is minted for the test
	})
	if err != nil {
		panic(err)
	}
	return &honest{client: client, url: args[1]}
}

// play asks for as long as the second word says.
func (h *honest) play(words []string) any {
	length, err := time.ParseDuration(words[1])
	if err != nil {
		panic(err)
	}
	var heard heardReport
	for end := time.Now().Add(length); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		begun := time.Now()
		r := h.client.Get(ctx, h.url, proof.Options{Truth: "127.0.0.1"})
		heard.Took = append(heard.Took, time.Since(begun))
		cancel()
		if r.Err != nil || r.Body != proof.BodyOK {
			heard.Errors = append(heard.Errors, r.String())
		}
		time.Sleep(attackPause)
	}
	return heard
}
