// Command bench measures what fulcrum costs, beside the proxies that people would
// otherwise run, over loopback on one machine. scripts/bench installs those,
// builds everything and runs it:
//
//	scripts/bench                            all scenarios, about 25 minutes
//	scripts/bench --only tcp-echo --rounds 3
//	scripts/bench --json bench.json --svg bench.svg
//	scripts/bench --fulcrum before=./old     a second binary in the same run
//	scripts/bench --fulcrum x:epoll=./other  one that is told to work by epoll
//	scripts/bench --list                     the scenarios
//
// # What is measured
//
// A client process sends through a proxy to an origin process; all that comes
// back is verified byte by byte. For each contender there is the rate, the
// latency, and above all the proxy's own CPU time for a unit of work, read from
// /proc for it and its workers: on a machine where client, proxy and origin share
// the CPUs it says what the rate cannot. The tables also say how many CPUs each of
// the three kept busy. The contender direct has no proxy and is what the client
// and the origin could do.
//
// Each measurement has fresh processes and, for root, a network namespace of its
// own. Contenders take turns round by round; figures are medians of the rounds,
// ratios are to the better of haproxy and nginx in the same run. Caddy and the
// reverseproxy, what a few lines around Go's httputil.ReverseProxy can do, are there
// for http only, to be seen beside them. Compare within one run only: machines differ.
//
// Connections are closed by the client when it has the reply, as clients do, and
// then stay in TIME_WAIT; only in http-close, which asks for it, the proxy closes.
// They come from several loopback addresses in turn, so ports never run out. In the
// open loop a request's latency counts from the time it was due, not from when it
// could be sent, also if it never was. Its rate is half of what the slowest peer
// reached in http-128B-64, if that was measured in the same run, otherwise --rate;
// below the table stands who did not reach it.
//
// The contenders' configs are in the folder configs.
//
// # How it is built
//
// The program runs itself again in other roles: measure (stage and client of one
// measurement), origin, reverse-proxy. Each process is told by the kernel to stop
// when the one that started it ends, so nothing stays behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

func main() {
	// Children are told to stop when the thread that started them ends.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// run is the whole program, in the role that the arguments say.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	role := func(name string, flags []cli.Flag, action cli.ActionFunc) *cli.Command {
		return &cli.Command{Name: name, Hidden: true, HideHelpCommand: true, Flags: flags, Action: action}
	}
	app := &cli.App{
		Name: "bench", Usage: "measure fulcrum beside its peers; scripts/bench runs it",
		Flags: benchFlags, Action: benchmark,
		HideHelpCommand: true, Writer: stdout, ErrWriter: stderr, ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{
			role("measure", []cli.Flag{&cli.StringFlag{Name: "dir"}}, func(c *cli.Context) error {
				return runMeasure(c.Context, c.String("dir"), stdin, stdout)
			}),
			role("origin", []cli.Flag{&cli.StringFlag{Name: "mode"}, &cli.IntFlag{Name: "listeners"}}, func(c *cli.Context) error {
				return runOrigin(c.String("mode"), c.Int("listeners"), stdin, stdout)
			}),
			role("reverse-proxy", []cli.Flag{&cli.StringFlag{Name: "listen"}}, func(c *cli.Context) error {
				return runReverseProxy(c.Context, c.String("listen"), c.Args().Slice())
			}),
		},
	}
	return app.RunContext(ctx, args)
}

var benchFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "fulcrum", Usage: "`[NAME[:IO]=]FILE`: a fulcrum binary, and by what it is to work (epoll or io_uring); repeat it to compare several"},
	&cli.StringFlag{Name: "only", Usage: "measure the scenarios whose name matches this `REGEXP`"},
	&cli.StringFlag{Name: "contenders", Usage: "measure only these, a `LIST` with commas (default: all)"},
	&cli.IntFlag{Name: "rounds", Value: 5, Usage: "how often each contender is measured in each scenario"},
	&cli.Float64Flag{Name: "seconds", Value: 2, Usage: "how long each measurement takes"},
	&cli.DurationFlag{Name: "warm-up", Value: 300 * time.Millisecond, Usage: "load before each measurement"},
	&cli.IntFlag{Name: "idle", Value: 5000, Usage: "connections in tcp-idle"},
	&cli.Float64Flag{Name: "rate", Value: 5000, Usage: "requests per second in http-open when " + rateFrom + " is not measured"},
	&cli.StringFlag{Name: "json", Usage: "write all results to `FILE`"},
	&cli.StringFlag{Name: "svg", Usage: "write a bar chart to `FILE`"},
	&cli.BoolFlag{Name: "list", Usage: "list the scenarios and end"},
}

// benchmark is the role of the program that people start.
func benchmark(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see --help", c.Args().First())
	}
	r, err := newRunner(c)
	if err != nil {
		return err
	}
	if c.Bool("list") {
		for _, sc := range r.scenarios {
			fmt.Fprintf(c.App.Writer, "%-15s %s\n", sc.Name, sc.Title)
		}
		return nil
	}
	interrupted := r.run(c.Context)
	result, err := r.report()
	if err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, writeTable(result))
	if err := errors.Join(interrupted, result.write(c.String("json"), c.String("svg"))); err != nil {
		return err
	}
	if n := result.failures(); n > 0 {
		return fmt.Errorf("errors: %d, see the tables", n)
	}
	return nil
}

// newRunner reads the flags.
func newRunner(c *cli.Context) (*runner, error) {
	idle, rounds, seconds := c.Int("idle"), c.Int("rounds"), c.Float64("seconds")
	if idle < 1 || rounds < 1 || seconds <= 0 || seconds > 600 || c.Float64("rate") <= 0 || c.Duration("warm-up") < 0 {
		return nil, errors.New("--idle, --rounds, --seconds (up to 600) and --rate must be more than 0, --warm-up not less than 0")
	}
	chosen, err := selectScenarios(scenarios(idle), c.String("only"))
	if err != nil {
		return nil, err
	}
	contenders, err := selectContenders(c.StringSlice("fulcrum"), c.String("contenders"))
	if err != nil {
		return nil, err
	}
	return &runner{
		scenarios: chosen, contenders: contenders, rounds: rounds,
		window: time.Duration(seconds * float64(time.Second)), warmUp: c.Duration("warm-up"),
		rate: c.Float64("rate"), isolated: mayIsolate(), progress: c.App.ErrWriter,
	}, nil
}

// selectContenders returns those that list names, all that there are if it is empty.
func selectContenders(fulcrums []string, list string) ([]contender, error) {
	var all []contender
	for _, name := range others {
		all = append(all, contender{Name: name})
	}
	for _, flag := range fulcrums {
		c, err := parseFulcrum(flag)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if list == "" {
		return all, nil
	}
	var chosen []contender
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	for name := range strings.SplitSeq(list, ",") {
		at := slices.Index(names, strings.TrimSpace(name))
		if at < 0 {
			return nil, fmt.Errorf("--contenders: %q is not known; use some of %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

// report puts together what has been measured so far.
func (r *runner) report() (report, error) {
	on, err := thisMachine(r.isolated)
	if err != nil {
		return report{}, err
	}
	result := report{Machine: on, Rounds: r.rounds, Window: r.window, Scenarios: r.scenarios, Rows: summarize(r.samples), Samples: r.samples}
	for _, c := range r.contenders {
		result.Contenders = append(result.Contenders, about{Name: c.Name, Version: c.version()})
	}
	return result, nil
}
