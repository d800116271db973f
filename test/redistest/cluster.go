package redistest

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// Cluster is three masters, at first without replicas, a third of the slots each.
type Cluster struct {
	Servers []*Server

	t   testing.TB
	ids []string // the servers' names for each other
}

// StartCluster starts them and waits until all agree. The options are each
// server's.
func StartCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range 3 {
		bus := loopback.Port(t)
		one := o
		one.Args = append(slices.Clone(o.Args), "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "yes")
		if o.TLS {
			one.Args = append(one.Args, "--tls-cluster", "yes")
		}
		s := Start(t, one)
		c.Servers, c.ids = append(c.Servers, s), append(c.ids, s.CLI("cluster", "myid"))
	}
	const slots = 16384
	for i, s := range c.Servers {
		s.CLI("cluster", "addslotsrange", strconv.Itoa(i*slots/3), strconv.Itoa((i+1)*slots/3-1))
		s.CLI("cluster", "set-config-epoch", strconv.Itoa(i+1))
	}
	for _, s := range c.Servers[1:] {
		s.meet(c.Servers[0])
	}
	for _, s := range c.Servers {
		await(t, 20*time.Second, "the Cluster", func() bool {
			info := s.CLI("cluster", "info")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return c
}

// meet makes a server known to another, and by it to the rest.
func (s *Server) meet(other *Server) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(other.Addr)
	bus := other.CLI("config", "get", "cluster-port")
	s.CLI("cluster", "meet", host, port, bus[strings.LastIndexByte(bus, '\n')+1:])
}

// Replicate starts a server that has what the one of that index has, and waits
// until it has been accepted.
func (c *Cluster) Replicate(of int) *Server {
	c.t.Helper()
	one := c.Servers[of].o
	one.Args = append(slices.Clone(one.Args), "--cluster-port", loopback.Port(c.t))
	r := Start(c.t, one)
	r.meet(c.Servers[of])
	await(c.t, 20*time.Second, "a replica", func() bool {
		out, err := r.cli("cluster", "replicate", c.ids[of])
		return err == nil && out == "OK"
	})
	return r
}

// URL is its address for session.redis.url.
func (c *Cluster) URL() string {
	scheme := "redis"
	if c.Servers[0].o.TLS {
		scheme = "rediss"
	}
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr)
	}
	return scheme + "+cluster://" + strings.Join(addrs, ",")
}

// Slot is the one a key is in.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	n, err := strconv.Atoi(c.Servers[0].CLI("cluster", "keyslot", key))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// Owner is the index of the server that has a slot.
func (c *Cluster) Owner(slot int) int {
	c.t.Helper()
	for i, s := range c.Servers {
		for _, line := range strings.Split(s.CLI("cluster", "nodes"), "\n") {
			if strings.Contains(line, "myself") && hasSlot(strings.Fields(line), slot) {
				return i
			}
		}
	}
	c.t.Fatalf("nobody has slot %d", slot)
	return 0
}

// hasSlot reads a line of CLUSTER NODES: from the ninth field on, a or a-b.
func hasSlot(fields []string, slot int) bool {
	for _, f := range fields[min(8, len(fields)):] {
		from, to, ok := strings.Cut(f, "-")
		a, err := strconv.Atoi(from)
		b := a
		if ok && err == nil {
			b, err = strconv.Atoi(to)
		}
		if err == nil && a <= slot && slot <= b {
			return true
		}
	}
	return false
}

// Move moves a slot with its keys to another server, and calls between, if it
// is not nil, before its keys move, after, and once the slot is there.
func (c *Cluster) Move(slot, to int, between func(step string)) {
	c.t.Helper()
	if between == nil {
		between = func(string) {}
	}
	from, n := c.Owner(slot), strconv.Itoa(slot)
	c.Servers[to].CLI("cluster", "setslot", n, "importing", c.ids[from])
	c.Servers[from].CLI("cluster", "setslot", n, "migrating", c.ids[to])
	between("before its keys")
	host, port, _ := net.SplitHostPort(c.Servers[to].Addr)
	for _, key := range strings.Fields(c.Servers[from].CLI("cluster", "getkeysinslot", n, "1000")) {
		args := []string{"migrate", host, port, key, "0", "5000"}
		if len(c.Servers[to].o.Users) > 0 {
			args = append(args, "auth", AdminPassword)
		}
		if out := c.Servers[from].CLI(args...); out != "OK" && out != "NOKEY" {
			c.t.Fatalf("migrate: %s", out)
		}
	}
	between("after its keys")
	for _, s := range append([]*Server{c.Servers[to]}, c.Servers...) {
		s.CLI("cluster", "setslot", n, "node", c.ids[to])
	}
	between("over")
}
