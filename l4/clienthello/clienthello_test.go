package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const patience = 20 * time.Second

// hello is what crypto/tls sends first when it is configured like that.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	config.InsecureSkipVerify = true
	near, far := net.Pipe()
	defer far.Close()
	far.SetDeadline(time.Now().Add(patience))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer near.Close()
		tls.Client(near, config).Handshake()
	}()
	b := firstRecord(t, far)
	far.Close()
	<-ended
	return b
}

func firstRecord(t testing.TB, from io.Reader) []byte {
	t.Helper()
	b := make([]byte, recordHeader)
	if _, err := io.ReadFull(from, b); err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, int(b[3])<<8|int(b[4]))...)
	if _, err := io.ReadFull(from, b[recordHeader:]); err != nil {
		t.Fatal(err)
	}
	return b
}

// fragment puts the handshake bytes of b into records of at most size bytes.
func fragment(b []byte, size int) []byte {
	var all []byte
	for rest := b[recordHeader:]; len(rest) > 0; {
		n := min(size, len(rest))
		all = append(all, recordHandshake, versionMajor, 1, byte(n>>8), byte(n))
		all = append(all, rest[:n]...)
		rest = rest[n:]
	}
	return all
}

// protocols are ALPN values that take about n bytes.
func protocols(n int) (all []string) {
	for i := range n / 100 {
		all = append(all, fmt.Sprintf("%099d", i))
	}
	return all
}

// wantName feeds every prefix of b: each must be incomplete until the name is
// there, and from then on every one must have it. It returns how many bytes that
// takes.
func wantName(t *testing.T, b []byte, want string) (needed int) {
	t.Helper()
	needed = -1
	for i := range len(b) + 1 {
		name, err := ServerName(b[:i:i])
		switch {
		case needed < 0 && errors.Is(err, ErrIncomplete):
		case err != nil:
			t.Fatalf("%d of %d bytes: %v", i, len(b), err)
		case name != want:
			t.Fatalf("%d of %d bytes: the name is %q, want %q", i, len(b), name, want)
		case needed < 0:
			needed = i
		}
	}
	if needed < 0 {
		t.Fatal("the whole hello is incomplete")
	}
	return needed
}

func TestRealHellosInPieces(t *testing.T) {
	for story, config := range map[string]*tls.Config{
		"any version":     {ServerName: "www.Example.COM"},
		"TLS 1.2":         {ServerName: "www.example.com", MaxVersion: tls.VersionTLS12},
		"TLS 1.3":         {ServerName: "www.example.com", MinVersion: tls.VersionTLS13},
		"trailing dot":    {ServerName: "www.example.com."},
		"many protocols":  {ServerName: "www.example.com", NextProtos: protocols(9000)},
		"no name":         {},
		"TLS 1.2 no name": {MaxVersion: tls.VersionTLS12},
	} {
		t.Run(story, func(t *testing.T) {
			b, want := hello(t, config), "www.example.com"
			if config.ServerName == "" {
				want = ""
			}
			needed := wantName(t, b, want)
			if want == "" && needed != len(b) {
				t.Errorf("that there is no name was said after %d of %d bytes", needed, len(b))
			}
			wantName(t, append(b, "what follows is none of its business"...), want)
		})
	}
}

func TestAHelloSplitOverRecordsAtAnyByte(t *testing.T) {
	b := hello(t, &tls.Config{ServerName: "db.example.com", MaxVersion: tls.VersionTLS12})
	for size := 1; size < len(b); size++ {
		if name, err := ServerName(fragment(b, size)); name != "db.example.com" || err != nil {
			t.Fatalf("records of %d bytes: %q, %v", size, name, err)
		}
	}
	wantName(t, fragment(b, 1), "db.example.com")
	wantName(t, fragment(b, 3), "db.example.com")
	wantName(t, fragment(hello(t, &tls.Config{}), 7), "")
}

func TestOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	for _, options := range [][]string{
		{"-servername", "Files.example.com", "-tls1_2"},
		{"-servername", "files.example.com", "-tls1_3", "-alpn", "h2,http/1.1"},
		{"-noservername"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
			client := exec.Command(path, append([]string{"s_client", "-connect", listener.Addr().String()}, options...)...)
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			defer client.Wait()
			defer client.Process.Kill()
			c, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			want := "files.example.com"
			if options[0] == "-noservername" {
				want = ""
			}
			wantName(t, firstRecord(t, c), want)
		})
	}
}

func TestWhatIsNoTLSIsKnownAtOnce(t *testing.T) {
	for _, b := range []string{"G", "SSH-2.0-OpenSSH\r\n", "\x16G", "\x80\x2e\x01\x03\x01", "\x15\x03\x01\x00\x02\x02\x28", "\x00", "\x17\x03\x03"} {
		if _, err := ServerName([]byte(b)); err != ErrNotTLS {
			t.Errorf("%q: %v, want %v", b, err, ErrNotTLS)
		}
	}
	for _, b := range []string{"", "\x16", "\x16\x03", "\x16\x03\x01\x00"} {
		if _, err := ServerName([]byte(b)); err != ErrIncomplete {
			t.Errorf("%q: %v, want %v", b, err, ErrIncomplete)
		}
	}
}

func TestNothingIsAllocatedButTheName(t *testing.T) {
	b := hello(t, &tls.Config{ServerName: "www.example.com"})
	if n := testing.AllocsPerRun(100, func() { ServerName(b) }); n > 1 {
		t.Errorf("a hello costs %v allocations, want 1", n)
	}
	if n := testing.AllocsPerRun(100, func() { ServerName(b[:60]) }); n > 0 {
		t.Errorf("a part of a hello costs %v allocations, want none", n)
	}
}

// FuzzServerName: an answer other than ErrIncomplete does not change when more
// comes, and a name is one.
func FuzzServerName(f *testing.F) {
	for _, config := range []*tls.Config{
		{}, {ServerName: "www.example.com"}, {ServerName: "a.b.", MaxVersion: tls.VersionTLS12},
	} {
		b := hello(f, config)
		f.Add(b)
		f.Add(fragment(b, 1))
		f.Add(fragment(b, 50))
	}
	f.Add(build("a.example.com"))
	f.Fuzz(func(t *testing.T, b []byte) { checkPrefixes(t, b) })
}

func checkPrefixes(t *testing.T, b []byte) {
	name, err := ServerName(b)
	if err == nil && (len(name) > maxName || name != strings.ToLower(name) || strings.Trim(name, ".") != name) {
		t.Fatalf("%q is no name", name)
	}
	if len(b) >= Max && err == ErrIncomplete {
		t.Fatalf("%d bytes are incomplete", len(b))
	}
	for i := range len(b) {
		before, beforeErr := ServerName(b[:i:i])
		if beforeErr == ErrIncomplete {
			continue
		}
		if before != name || fmt.Sprint(beforeErr) != fmt.Sprint(err) {
			t.Fatalf("after %d bytes %q, %v; after %d %q, %v", i, before, beforeErr, len(b), name, err)
		}
		return
	}
}

func TestSpoiledHellosAreJudgedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seeds := [][]byte{
		build("a.example.com"), build(""),
		fragment(build("a.example.com"), 11), fragment(build("a.example.com"), 1),
	}
	for range 3000 {
		b := bytes.Clone(seeds[random.IntN(len(seeds))])
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] = byte(random.IntN(256))
		}
		checkPrefixes(t, b)
	}
}
