package main

import (
	"fmt"
	"regexp"
	"strings"
)

// How a scenario's load is made.
const (
	closedLoop = "closed" // each client begins a unit when its last one has ended
	openLoop   = "open"   // units begin at a constant rate, whatever the answers do
	idleLoad   = "idle"   // connections that carry nothing
)

// A scenario is one kind of work. Scenarios do not depend on the contender.
type scenario struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Protocol    string `json:"protocol"`    // of the proxy: tcp or http
	Mode        string `json:"mode"`        // of the origin
	Load        string `json:"load"`        // closedLoop, openLoop or idleLoad
	Unit        string `json:"unit"`        // what is counted
	PerUnit     int64  `json:"per_unit"`    // how much of what a worker's work returns makes a unit
	Connections int    `json:"connections"` // at a time; each has a worker
	Body        int    `json:"body"`        // http: bytes in an answer
	Post        bool   `json:"post"`        // http: a body of postSize is sent
	Connects    bool   `json:"connects"`    // each unit is a connection of its own
}

// bulk reports whether the work is long streams.
func (s scenario) bulk() bool { return s.Mode == modeSource || s.Mode == modeSink }

// rateFrom is the scenario whose slowest peer the open loop is measured from.
const rateFrom = "http-128B-64"

// scenarios returns all of them, with that many idle connections.
func scenarios(idle int) []scenario {
	list := []scenario{
		{Name: "tcp-connect", Title: "connect, 64 B echoed, close, 64 at a time", Connections: 64, Connects: true},
		{Name: "tcp-echo-1", Title: "64 B echoed on 1 kept connection", Connections: 1},
		{Name: "tcp-echo-64", Title: "64 B echoed on 64 kept connections", Connections: 64},
		{Name: "tcp-echo-512", Title: "64 B echoed on 512 kept connections", Connections: 512},
		{Name: "tcp-down-1", Title: "bulk to the client, 1 stream", Mode: modeSource, Connections: 1},
		{Name: "tcp-down-16", Title: "bulk to the client, 16 streams", Mode: modeSource, Connections: 16},
		{Name: "tcp-up-16", Title: "bulk to the server, 16 streams", Mode: modeSink, Connections: 16},
		{Name: "tcp-idle", Title: fmt.Sprintf("%d idle connections", idle), Load: idleLoad, Connections: idle},
	}
	for _, size := range []struct {
		body int
		text string
	}{{small, "128 B"}, {medium, "16 KiB"}, {large, "1 MiB"}} {
		for _, n := range []int{64, 256} {
			list = append(list, scenario{Name: fmt.Sprintf("http-%s-%d", strings.ReplaceAll(size.text, " ", ""), n), Mode: modeHTTP,
				Title: fmt.Sprintf("answers of %s on %d kept connections", size.text, n), Connections: n, Body: size.body})
		}
	}
	list = append(list,
		scenario{Name: "http-close", Title: "Connection: close, 128 B, 64 at a time", Mode: modeHTTP, Connections: 64, Body: small, Connects: true},
		scenario{Name: "http-post", Title: "POST of 16 KiB on 64 kept connections", Mode: modeHTTP, Connections: 64, Body: small, Post: true},
		scenario{Name: "http-open", Title: "128 B at a constant rate on 64 kept connections", Mode: modeHTTP, Load: openLoop, Connections: 64, Body: small})
	for i := range list {
		list[i].complete()
	}
	return list
}

// complete sets what follows from the rest.
func (s *scenario) complete() {
	s.Protocol, s.Unit, s.PerUnit = "tcp", "message", 1
	switch {
	case s.Mode == modeHTTP:
		s.Protocol, s.Unit = "http", "request"
	case s.bulk():
		s.Unit, s.PerUnit = "GB", 1e9
	default:
		s.Mode = modeEcho
	}
	if s.Protocol == "tcp" && (s.Connects || s.Load == idleLoad) {
		s.Unit = "connection"
	}
	if s.Load == "" {
		s.Load = closedLoop
	}
}

// selectScenarios returns those whose name the pattern matches.
func selectScenarios(all []scenario, only string) ([]scenario, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	var chosen []scenario
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
		if pattern.MatchString(s.Name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("--only %q matches none of the scenarios %s", only, strings.Join(names, ", "))
	}
	return chosen, nil
}

// newWorker returns a client for the scenario.
func (s scenario) newWorker(d *dialer) worker {
	base := session{dialer: d}
	switch s.Mode {
	case modeSource:
		return &downWorker{session: base, buf: make([]byte, chunkSize)}
	case modeSink:
		return &upWorker{session: base}
	case modeHTTP:
		return &httpWorker{session: base, request: s.request(), want: pattern[:s.Body], closes: s.Connects,
			buf: make([]byte, min(s.Body+maxHead, chunkSize))}
	default:
		return &echoWorker{session: base, connects: s.Connects}
	}
}

// request returns the bytes of an http scenario's request.
func (s scenario) request() []byte {
	method, more := "GET", ""
	if s.Post {
		method, more = "POST", fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", postSize)
	}
	if s.Connects {
		more += "Connection: close\r\n"
	}
	head := fmt.Sprintf("%s /%d HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n%s\r\n", method, s.Body, more)
	if s.Post {
		return append([]byte(head), pattern[:postSize]...)
	}
	return []byte(head)
}
