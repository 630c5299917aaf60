package doctor

import (
	"errors"
	"strings"
	"testing"

	"fulcrum/config"
)

func TestDescriptors(t *testing.T) {
	limits := func(hard string) changed {
		return changed{"proc/self/limits": "Max open files            1024                 " + hard + "              files\n"}
	}
	limited := conf(t, strings.ReplaceAll(web, "1000", "10000"), pair, "")
	unlimited := conf(t, strings.ReplaceAll(web, `, "max_connections": 1000`, ""), pair, "")
	all(t, "descriptors", []visit{
		{"enough", nil, limited, OK, "1048576 files|524238 connections"},
		{"exactly enough", limits("20100"), limited, OK, "20100 files may be open|10000 connections"},
		{"one too few", limits("20099"), limited, Problem, "20099 files|10000 in all, need 20100|LimitNOFILE=20100|ulimit -n 20100|max_connections to 9999 in all"},
		{"more than a process may ask for", limits("20000"), conf(t, strings.ReplaceAll(web, "1000", "1000000"), pair, ""), Problem, "sysctl -w fs.nr_open='2000100'|ulimit -n 2000100"},
		{"next to none", limits("7"), limited, Problem, "max_connections to 0 in all"},
		{"no limit", limits("unlimited"), limited, OK, "any number"},
		{"nobody knows how many", limits("4096"), unlimited, Warning, "listener web has no max_connections|4096 files|1998 connections|LimitNOFILE=65536"},
		{"nobody knows, but many", nil, unlimited, OK, "1048576"},
		{"no config", limits("4096"), nil, Warning, "4096 files may be open, enough for 1998 connections"},
		{"missing", changed{"proc/self/limits": gone}, limited, Unknown, "/proc/self/limits cannot be read: file does not exist"},
		{"other lines", changed{"proc/self/limits": "Max open files\nMax open files x y\nMax open files 1 -1"}, limited, Unknown, "and not a limit of open files"},
	})
}

func TestMachineDescriptors(t *testing.T) {
	nr := func(text string) changed { return changed{"proc/sys/fs/file-nr": text} }
	limited := conf(t, web, pair, "")
	all(t, "descriptors of the machine", []visit{
		{"enough", nil, limited, OK, "1332 files"},
		{"too few for the listeners", nr("100 0 2000"), limited, Warning, "100 files are open on the machine, of 2000|may need 2100|sysctl -w fs.file-max='1048576'|/etc/sysctl.d/"},
		{"almost none left", nr("95000 0 100000"), nil, Problem, "95000 files are open|of 100000"},
		{"two numbers", nr("1 2"), nil, Unknown, `/proc/sys/fs/file-nr says "1 2", and not 3 numbers`},
		{"words", nr("a b c"), nil, Unknown, "and not 3 numbers"},
	})
}

func TestListenQueue(t *testing.T) {
	const somaxconn, reset = "proc/sys/net/core/somaxconn", "proc/sys/net/ipv4/tcp_abort_on_overflow"
	all(t, "listen queue", []visit{
		{"as asked for", nil, nil, OK, "4096 connections may wait"},
		{"more", changed{somaxconn: "65535\n"}, nil, OK, "4096 connections"},
		{"as in old kernels", changed{somaxconn: "128\n"}, nil, Warning, "net.core.somaxconn is 128; listeners ask for 4096|sysctl -w net.core.somaxconn='4096'\n|echo 'net.core.somaxconn = 4096' >>/etc/sysctl.d/90-fulcrum.conf"},
		{"clients are reset", changed{reset: "1\n"}, nil, Warning, "tcp_abort_on_overflow is on|sysctl -w net.ipv4.tcp_abort_on_overflow='0'"},
		{"that is missing", changed{reset: gone}, nil, OK, "4096"},
		{"missing", changed{somaxconn: gone}, nil, Unknown, "/proc/sys/net/core/somaxconn cannot be read"},
		{"empty", changed{somaxconn: ""}, nil, Unknown, `says "", and not 1 number`},
		{"too large for a number", changed{somaxconn: "99999999999999999999"}, nil, Unknown, "99999999999999999999"},
	})
}

func TestHandshakes(t *testing.T) {
	const backlog, cookies = "proc/sys/net/ipv4/tcp_max_syn_backlog", "proc/sys/net/ipv4/tcp_syncookies"
	all(t, "handshakes", []visit{
		{"many", nil, nil, OK, "2048 handshakes"},
		{"few, with cookies", changed{backlog: "256"}, nil, Info, "tcp_max_syn_backlog is 256|window scaling|sysctl -w net.ipv4.tcp_max_syn_backlog='4096'"},
		{"no cookies", changed{cookies: "0"}, nil, Warning, "tcp_syncookies is off|sysctl -w net.ipv4.tcp_syncookies='1'"},
		{"missing", changed{backlog: gone}, nil, Unknown, "tcp_max_syn_backlog"},
		{"cookies missing", changed{cookies: gone}, nil, Unknown, "tcp_syncookies"},
	})
}

func TestOverflows(t *testing.T) {
	netstat := func(overflows, drops string) changed {
		return changed{counters: "TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 " + overflows + " " + drops + "\n"}
	}
	since := netstat("400", "500")
	since["proc/uptime"] = "garbage"
	all(t, "listen overflows", []visit{
		{"none", nil, nil, OK, "since boot, 24h0m0s ago"},
		{"many", netstat("400", "500"), nil, Warning, "500 connections dropped since boot, 24h0m0s ago, 400 because a listen queue was full|nstat -az TcpExtListenOverflows"},
		{"less than one an hour", netstat("23", "23"), nil, Info, "23 connections"},
		{"since nobody knows when", since, nil, Warning, "since boot, 400 because"},
		{"missing", changed{counters: gone}, nil, Unknown, "/proc/net/netstat cannot be read"},
		{"other counters", changed{counters: "TcpExt: A B\nTcpExt: 1 2\n"}, nil, Unknown, "says nothing of ListenOverflows"},
		{"half a line", changed{counters: "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1\n"}, nil, Unknown, "says nothing of"},
		{"names alone", changed{counters: "TcpExt: ListenOverflows ListenDrops"}, nil, Unknown, "says nothing of"},
	})
}

func TestPorts(t *testing.T) {
	const file, reserved = "proc/sys/net/ipv4/ip_local_port_range", "proc/sys/net/ipv4/ip_local_reserved_ports"
	of := func(connections, pool string) *config.Config {
		return conf(t, strings.ReplaceAll(strings.ReplaceAll(db, "1000", connections), `"max_connections": 0`, `"tcp_keepalive": 60`), pool, "")
	}
	two := `{"name": "p", "servers": ["10.0.0.1:80", "10.0.0.2:80"]}`
	all(t, "ports to servers", []visit{
		{"no config", nil, nil, OK, "28232 connections to each server"},
		{"enough", nil, of("28232", two), OK, "28232"},
		{"enough while both servers are there", nil, of("28233", two), Warning, "pool p may need 28233 connections to one server from one address once another server is down, but there are 28232 ports|sysctl -w net.ipv4.ip_local_port_range='1024 65535'|ip_local_reserved_ports='5432'"},
		{"too few", nil, of("56466", two), Problem, "pool p may need 28233 connections to one server from one address, but there are 28232 ports"},
		{"more than any range has", nil, of("200000", two), Problem, `100000 connections|and in pool p: "source": [...], with 4 times as many addresses of this machine`},
		{"and the range is wide", changed{file: "1024 65535"}, of("200000", two), Problem, `"source": [...], with 4 times`},
		{"several sources", nil, of("56466", `{"name": "p", "source": ["10.1.0.1", "10.1.0.2"], "servers": ["10.0.0.1:80", "10.0.0.2:80"]}`), Warning, "may need 28233"},
		{"a server's own sources", nil, of("100000", `{"name": "p", "servers": [{"address": "10.0.0.1:80", "source": ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"]}]}`), OK, "28232"},
		{"servers with limits", nil, of("200000", `{"name": "p", "servers": [{"address": "10.0.0.1:80", "max_connections": 20000}, {"address": "10.0.0.2:80", "max_connections": 28232}]}`), OK, "28232"},
		{"by weight", nil, of("40000", `{"name": "p", "servers": [{"address": "10.0.0.1:80", "weight": 3}, "10.0.0.2:80"]}`), Problem, "may need 30000"},
		{"by weight, one down", nil, of("30000", `{"name": "p", "servers": [{"address": "10.0.0.1:80", "weight": 3}, "10.0.0.2:80"]}`), Warning, "may need 30000"},
		{"nobody feeds it", nil, conf(t, web, pair+`,{"name": "q", "servers": ["10.0.0.1:80"]}`, ""), OK, "28232"},
		{"unix sockets have none", nil, of("200000", `{"name": "p", "servers": ["unix:/a", "unix:/b"]}`), OK, "28232"},
		{"no limit", nil, of("0", two), Info, `pool p can have 28232 connections to one server|give the listeners, or the servers, a "max_connections"`},
		{"no limit but the servers'", nil, of("0", `{"name": "p", "servers": [{"address": "10.0.0.1:80", "max_connections": 200}]}`), OK, "28232"},
		{"no servers", nil, of("200000", `{"name": "p"}`), OK, "28232"},
		{"a narrow range", changed{file: "40000 40999"}, nil, Warning, "the 1000 ports of net.ipv4.ip_local_port_range, 40000 to 40999, are fewer than usual"},
		{"half of it reserved", changed{reserved: "80,47000-60999,46884-50000,60999"}, nil, Warning, "the 14116 ports"},
		{"reserved by nonsense", changed{reserved: "x,9-1,-,,99999,1-2-3"}, nil, OK, "28232"},
		{"no list of reserved ones", changed{reserved: gone}, nil, OK, "28232"},
		{"missing", changed{file: gone}, nil, Unknown, "ip_local_port_range"},
		{"the wrong way round", changed{file: "60999 32768"}, nil, Unknown, "and not a range of ports"},
		{"beyond ports", changed{file: "1 70000"}, nil, Unknown, "and not a range of ports"},
	})
}

func TestListenerPorts(t *testing.T) {
	const reserved = "proc/sys/net/ipv4/ip_local_reserved_ports"
	high := strings.ReplaceAll(db, "5432", "40000")
	both := conf(t, high+","+web, pair, `, "admin": {"address": "127.0.0.1:50000"}`)
	all(t, "ports of listeners", []visit{
		{"below", nil, conf(t, web+","+db, pair, ""), OK, "no listener's port"},
		{"among them", nil, both, Warning, "listeners db, admin have a port from 32768 to 60999|address already in use|sysctl -w net.ipv4.ip_local_reserved_ports='40000,50000'"},
		{"reserved", changed{reserved: "39999-40001,50000"}, both, OK, "no listener's port"},
		{"one port at two addresses", nil, conf(t, strings.ReplaceAll(high, `":4`, `"10.0.0.1:4`)+","+strings.ReplaceAll(strings.ReplaceAll(high, `":4`, `"10.0.0.2:4`), `"db"`, `"more"`), pair, ""), Warning, "listeners db, more have|ip_local_reserved_ports='40000'\n"},
		{"one of them reserved", changed{reserved: "40000,7000-7010"}, both, Warning, "listener admin has|ip_local_reserved_ports='50000,7000-7010,40000'"},
		{"any port and a unix socket", nil, conf(t, strings.ReplaceAll(db, "5432", "0"), pair, `, "admin": {"address": "unix:/run/a:40000"}`), OK, "no listener's port"},
		{"missing", changed{"proc/sys/net/ipv4/ip_local_port_range": gone}, both, Unknown, "ip_local_port_range"},
	})
}

func TestTracking(t *testing.T) {
	table := func(count, limit string) changed {
		return changed{"proc/sys/net/netfilter/nf_conntrack_count": count, "proc/sys/net/netfilter/nf_conntrack_max": limit}
	}
	limited := conf(t, strings.ReplaceAll(web, "1000", "200000"), pair, "")
	all(t, "connection tracking", []visit{
		{"room", nil, nil, OK, "1000 connections are tracked, of 262144"},
		{"absent", table(gone, gone), nil, OK, "tracks no connections"},
		{"no limit", table("5", "0"), nil, OK, "no limit"},
		{"full", table("65536", "65536"), nil, Problem, "is full: 65536 of 65536|sysctl -w net.netfilter.nf_conntrack_max='131072'"},
		{"almost full", table("60000", "65536"), nil, Warning, "almost full: 60000 of 65536"},
		{"too small for the listeners", nil, limited, Warning, "nf_conntrack_max is 262144|200000 in all, need 400000|nf_conntrack_max='524288'"},
		{"no count", table(gone, "65536"), nil, Unknown, "nf_conntrack_count"},
		{"garbage", table("5", "many"), nil, Unknown, `"many"`},
	})
}

func TestTCPMemory(t *testing.T) {
	used := func(pages string) changed {
		return changed{"proc/net/sockstat": "sockets: used 1\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem " + pages + "\n"}
	}
	many := conf(t, strings.ReplaceAll(web, "1000", "1000000"), pair, "")
	all(t, "tcp memory", []visit{
		{"room", nil, nil, OK, "sockets hold 189 MiB, of the 1.5 GiB"},
		{"above", used("383869"), nil, Problem, "more than the 1.5 GiB|sysctl -w net.ipv4.tcp_mem='575802 767736 1151604'"},
		{"close", used("310000"), nil, Warning, "close to"},
		{"too little for the listeners", nil, many, Warning, "1000000 in all, may hold some 30.5 GiB|tcp_mem='12000000 16000000 24000000'"},
		{"more than there is", changed{"proc/meminfo": "MemTotal: 16777216 kB\n"}, many, Warning, "lower the listeners' max_connections to 262144 in all, for which half of the machine's 16 GiB are enough"},
		{"nobody knows what there is", changed{"proc/meminfo": "MemTotal: much kB\n"}, many, Warning, "tcp_mem='12000000 16000000 24000000'"},
		{"cut off", changed{counters: "TcpExt: TCPAbortOnMemory\nTcpExt: 3\n"}, nil, Warning, "3 connections cut off"},
		{"missing", changed{"proc/sys/net/ipv4/tcp_mem": gone}, nil, Unknown, "tcp_mem"},
		{"sockets missing", changed{"proc/net/sockstat": gone}, nil, Unknown, "/proc/net/sockstat"},
		{"sockets say nothing", changed{"proc/net/sockstat": "TCP: mem\nTCP:\nTCP: a b mem x"}, nil, Unknown, "and not how much memory TCP holds"},
	})
}

func TestBuffers(t *testing.T) {
	const receive, send, grow = "proc/sys/net/ipv4/tcp_rmem", "proc/sys/net/ipv4/tcp_wmem", "proc/sys/net/ipv4/tcp_moderate_rcvbuf"
	all(t, "socket buffers", []visit{
		{"grow", nil, nil, OK, "may grow"},
		{"small", changed{send: "4096 16384 65536"}, nil, Warning, "no more than 64 KiB to be sent|10.5 Mbit/s|sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"},
		{"large from the start", changed{receive: "4096 16777216 16777216"}, nil, Warning, "every socket begins with a buffer of 16 MiB to be received|tcp_rmem='4096 131072 16777216'"},
		{"do not grow", changed{grow: "0"}, nil, Warning, "tcp_moderate_rcvbuf is off"},
		{"missing", changed{receive: gone, grow: gone}, nil, Unknown, "tcp_rmem"},
	})
}

func TestClock(t *testing.T) {
	const current, available = "sys/devices/system/clocksource/clocksource0/current_clocksource", "sys/devices/system/clocksource/clocksource0/available_clocksource"
	all(t, "clock", []visit{
		{"tsc", nil, nil, OK, `"tsc"`},
		{"virtual", changed{current: "kvm-clock"}, nil, OK, "without a system call"},
		{"slow", changed{current: "hpet\n"}, nil, Warning, `"hpet"|echo tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource`},
		{"nothing faster", changed{current: "hpet", available: "hpet acpi_pm"}, nil, Warning, "dmesg"},
		{"missing", changed{current: gone}, nil, Unknown, "current_clocksource"},
		{"garbage is quoted", changed{current: "\x1b[2J"}, nil, Warning, `"\x1b[2J"`},
	})
	h := machine(nil)
	h.Synchronised = func() (bool, error) { return false, nil }
	expect(t, of("clock", h, nil), Warning, "nothing keeps the clock right|timedatectl set-ntp true")
	h.Synchronised = func() (bool, error) { return false, errors.New("not permitted") }
	expect(t, of("clock", h, nil), Unknown, "not permitted")
}

func TestIOUring(t *testing.T) {
	const disabled, status = "proc/sys/kernel/io_uring_disabled", "proc/self/status"
	wants := func(io string) *config.Config { return conf(t, web, pair, `, "io": "`+io+`"`) }
	all(t, "io_uring", []visit{
		{"for all", nil, nil, OK, "lets anybody use it"},
		{"for a few", changed{disabled: "1"}, nil, Info, "is 1|io_uring_group|sysctl -w kernel.io_uring_disabled='0'"},
		{"for nobody", changed{disabled: "2"}, wants("auto"), Info, "nobody may use io_uring|epoll"},
		{"but it is asked for", changed{disabled: "2"}, wants("io_uring"), Problem, `does not start|"io": "auto"`},
		{"perhaps not, but it is asked for", changed{disabled: "1"}, wants("io_uring"), Warning, `"io": "auto"`},
		{"not asked for", changed{disabled: "2"}, wants("epoll"), OK, "asks for epoll"},
		{"an old kernel", changed{disabled: gone}, nil, Info, "older than 6.6"},
		{"an old kernel, and it is asked for", changed{disabled: gone}, wants("io_uring"), Problem, "older than 6.6"},
		{"filtered", changed{status: "Name:\tx\nSeccomp:\t2\n"}, nil, Info, "seccomp"},
		{"filtered, nobody knows", changed{status: gone}, nil, OK, "lets anybody"},
		{"garbage", changed{disabled: "no"}, nil, Unknown, `"no"`},
	})
}

// A wider range of ports is advised as long as it helps, then more addresses.
func TestMorePorts(t *testing.T) {
	for connections, wants := range map[string]bool{"64512": false, "64513": true} {
		c := conf(t, strings.ReplaceAll(db, "1000", connections), `{"name": "p", "servers": ["10.0.0.1:80"]}`, "")
		found := of("ports to servers", machine(nil), c)
		expect(t, found, Problem, "ip_local_port_range='1024 65535'")
		if more := strings.Contains(found[0].Do, `"source": [...], with 2 times`); more != wants {
			t.Errorf("%s connections: %s", connections, found[0].Do)
		}
	}
}
