package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// MasterName is what the Sentinels call the master.
const MasterName = "mymaster"

// Sentinels are a master and two replicas, watched by three Sentinels that
// agree on another master a second after it fell silent, two of them.
type Sentinels struct {
	Servers []*Server // the first is the master at first
	Addrs   []string  // the Sentinels'

	t         testing.TB
	processes []*process
}

// StartSentinel starts all six and waits until each knows the others.
func StartSentinel(t testing.TB) *Sentinels {
	t.Helper()
	master := Start(t, Options{})
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := Options{Args: []string{"--replicaof", host + " " + port}}
	s := &Sentinels{t: t, Servers: []*Server{master, Start(t, replica), Start(t, replica)}}
	await(t, 15*time.Second, "replication", func() bool {
		return strings.Count(master.CLI("info", "replication"), "state=online") == 2
	})
	for range 3 {
		s.startOne(fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 4000\n", MasterName, host, port))
	}
	for _, addr := range s.Addrs {
		one := &Server{t: t, Addr: addr}
		await(t, 20*time.Second, "the Sentinels", func() bool {
			out, err := one.cli("sentinel", "master", MasterName)
			return err == nil && strings.Contains(out, "num-slaves\n2") && strings.Contains(out, "num-other-sentinels\n2")
		})
	}
	return s
}

func (s *Sentinels) startOne(conf string) {
	s.t.Helper()
	dir, addr := tempDir(s.t), loopback.Address(s.t)
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(dir, "sentinel.conf")
	conf = "bind 127.0.0.1\nport " + port + "\ndir " + dir + "\n" + conf
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p, err := run(dir, "redis-sentinel", file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	s.Addrs, s.processes = append(s.Addrs, addr), append(s.processes, p)
}

// URL is their address for session.redis.url.
func (s *Sentinels) URL() string {
	return "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + MasterName
}

// Failover has the Sentinels put a replica in the place of the master, which lives.
func (s *Sentinels) Failover() {
	s.t.Helper()
	(&Server{t: s.t, Addr: s.Addrs[0]}).CLI("sentinel", "failover", MasterName)
}

// Freeze stops one Sentinel from doing anything until the test ends.
func (s *Sentinels) Freeze(i int) { s.processes[i].signal(syscall.SIGSTOP) }

// Master is who the Sentinels say it is, of those that answer the first.
func (s *Sentinels) Master() *Server {
	s.t.Helper()
	for _, addr := range s.Addrs {
		out, err := (&Server{t: s.t, Addr: addr}).cli("sentinel", "get-master-addr-by-name", MasterName)
		for _, server := range s.Servers {
			host, port, _ := net.SplitHostPort(server.Addr)
			if err == nil && out == host+"\n"+port {
				return server
			}
		}
	}
	s.t.Fatal("no Sentinel names a master")
	return nil
}
