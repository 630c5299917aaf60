package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// What traffic is counted by.
var (
	byListener = []string{"listener"}
	byRoute    = []string{"listener", "route"}
	byServer   = []string{"listener", "pool", "server"}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fulcrum_"+name, help, labels, nil)
}

var (
	balancerReady  = desc("ready", "Whether the balancer is fit to serve, as GET /healthz says.")
	reloads        = desc("config_reloads_total", "Reloads of the config, by whether it was applied or refused.", "result")
	lastReloadOK   = desc("config_last_reload_successful", "Whether the last reload was applied; 1 before the first.")
	lastReloadTime = desc("config_last_applied_timestamp_seconds", "When the config that is running was applied.")
	stateErrors    = desc("state_errors_total", "Times that the state file could not be read or written.")
	logDropped     = desc("access_log_dropped_records_total", "Records that an access log had no room for.", "log")

	loopTurns  = desc("loop_turns_total", "Turns of an event loop, in each of which it does all that has come in.", "loop")
	loopCPU    = desc("loop_cpu_seconds_total", "Processor time of an event loop, in the kernel too.", "loop")
	loopQueued = desc("loop_queued_seconds_total", "Time in which an event loop had work, but no processor.", "loop")
	loopPauses = desc("loop_accept_pauses_total", "Times that accepting paused for want of descriptors.", "loop")

	listenerInfo = desc("listener_info", "Always 1; the labels tell of the listener.", "listener", "protocol", "address", "io")

	poolInfo    = desc("pool_info", "Always 1; the labels tell of the pool.", "pool", "algorithm")
	poolServers = desc("pool_servers", "Servers in the pool, whatever their state.", "pool")
	poolReady   = desc("pool_ready_servers", "Servers that are healthy and not draining.", "pool")
	poolQueued  = desc("pool_queued", "Connections and requests that wait for a server.", "pool")
	poolRetries = desc("pool_retries_total", "Times that a server was chosen after others had failed.", "pool")

	serverReady    = serverDesc("ready", "Whether new work may go to the server: it is healthy and not draining.")
	serverHealthy  = serverDesc("healthy", "Whether the server is healthy, as its checks say.")
	serverDraining = serverDesc("draining", "Whether the operator has the server finish its work and get none.")
	serverWeight   = serverDesc("weight", "The server's share, relative to the others' in its pool.")
	serverMost     = serverDesc("max_connections", "How many may be active on the server; 0: no limit.")
	serverActive   = serverDesc("active", "Connections and requests in flight on the server.")
	serverChosen   = serverDesc("chosen_total", "Times that the server was chosen.")
	serverFailures = serverDesc("failures_total", "Times that the server could not be connected to, or did not answer.")
	serverChecks   = serverDesc("checks_total", "Checks of the server that found something out.")
	serverFailed   = serverDesc("failed_checks_total", "Checks that the server failed.")
	serverChanges  = serverDesc("health_changes_total", "Times that the server became healthy or not, its first check included.")
	serverTook     = serverDesc("last_check_seconds", "How long the last check took.")
	serverEnded    = serverDesc("last_check_timestamp_seconds", "When the last check ended.")
)

func serverDesc(name, help string) *prometheus.Desc {
	return desc("server_"+name, help, "pool", "server")
}

// tcpFamily is the metrics of tcp traffic, counted by something.
type tcpFamily struct {
	connections, active, ended, toUpstream, toClient *prometheus.Desc

	connect, firstByte, duration *timing
}

func newTCPFamily(prefix, connections string, by []string) *tcpFamily {
	family := func(name, help string, more ...string) *prometheus.Desc {
		return desc(prefix+name, help, slices.Concat(by, more)...)
	}
	return &tcpFamily{
		connections: family("connections_total", connections),
		active:      family("active_connections", "Of these, those that are open."),
		ended:       family("connections_ended_total", "Of these, those that have ended, by how.", "ending"),
		toUpstream:  family("to_upstream_bytes_total", "Bytes from clients to servers."),
		toClient:    family("to_client_bytes_total", "Bytes from servers to clients."),
		connect:     &timing{family("connect_seconds", "Time from dialling a server to being connected."), phases},
		firstByte:   &timing{family("first_byte_seconds", "Time from being connected to the server's first byte."), phases},
		duration:    &timing{family("duration_seconds", "Time from accepting a connection that was relayed to its end."), lifetimes},
	}
}

// httpFamily is the metrics of requests, counted by something.
type httpFamily struct {
	requests, active, ended, answers, received, sent, retries, connects, reuses *prometheus.Desc

	connect, firstByte, duration *timing
}

func newHTTPFamily(prefix, requests string, by []string) *httpFamily {
	family := func(name, help string, more ...string) *prometheus.Desc {
		return desc(prefix+name, help, slices.Concat(by, more)...)
	}
	return &httpFamily{
		requests:  family("requests_total", requests),
		active:    family("active_requests", "Of these, those that have not ended."),
		ended:     family("requests_ended_total", "Requests that have ended, by how.", "ending"),
		answers:   family("answers_total", "Answers that were begun, by the class of their status.", "status"),
		received:  family("received_bytes_total", "Bytes of requests' bodies, and through tunnels to servers."),
		sent:      family("sent_bytes_total", "Bytes of answers' bodies, and through tunnels to clients."),
		retries:   family("retries_total", "Times that a request was given to another server or sent again."),
		connects:  family("connects_total", "Connections to servers that were made for requests."),
		reuses:    family("reuses_total", "Requests that went on a kept connection."),
		connect:   &timing{family("connect_seconds", "Time from dialling a server to being connected."), phases},
		firstByte: &timing{family("first_byte_seconds", "Time from sending a request to the head of its answer."), phases},
		duration:  &timing{family("duration_seconds", "Time from the end of a request's head to the end of its answer."), phases},
	}
}

var (
	tcpListeners  = newTCPFamily("tcp_", "Connections that were accepted.", byListener)
	tcpServers    = newTCPFamily("tcp_server_", "Connections that were relayed to a server.", byServer)
	httpListeners = newHTTPFamily("http_", "Requests that were understood.", byListener)
	httpRoutes    = newHTTPFamily("http_route_", "Requests that a route was for.", byRoute)
	httpServers   = newHTTPFamily("http_server_", "Requests that were given to a server, again or for the first time.", byServer)

	tcpAdded = &timing{desc("tcp_added_seconds",
		"Time that the balancer itself takes until a client is connected to a server, of one connection in seventeen.", byListener...), additions}
	httpAdded = &timing{desc("http_added_seconds",
		"Time that the balancer itself adds to a request and the beginning of its answer, of one request in seventeen.", byListener...), additions}

	httpConnections = desc("http_connections_total", "Connections of clients that were accepted.", byListener...)
	httpOpen        = desc("http_open_connections", "Of these, those that are open.", byListener...)
)
