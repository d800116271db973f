// Package redistest starts real Redis servers on loopback for tests, alone,
// watched by Sentinels or as a Cluster, and breaks them on request. Their
// processes end with the test, or with the process it runs in. Whatever cannot
// be had fails the test: nothing is skipped.
package redistest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// ACL are the rules for a user that may do what Anteroom needs and nothing
// else, with the prefix "anteroom". A Cluster needs "+cluster|slots" besides,
// a database other than 0 "+select".
const ACL = "resetkeys ~anteroom:* resetchannels &anteroom:* -@all " +
	"+get +set +getdel +del +hget +hmget +hset +hdel +pexpire +pexpireat +time " +
	"+zadd +zrem +zrevrange +zrangebyscore +zremrangebyscore " +
	"+eval +evalsha +publish +subscribe +info +wait"

// ACLOfCluster finds out which server has a key, also while it moves.
const ACLOfCluster = "+cluster|slots +asking"

// AdminPassword is the default user's on a server with Users.
const AdminPassword = "admin-of-the-test"

// Options are how a server is to be. The zero value will do.
type Options struct {
	TLS   bool              // listens with TLS alone; see CAFile
	Users map[string]string // names with their rules, such as "on >password "+ACL
	Args  []string          // more of the server's settings: "--maxmemory", "1mb"
}

// Server is one Redis process, which may be down for a while.
type Server struct {
	Addr   string // 127.0.0.1:port, the same throughout
	Socket string // the same server's unix socket
	CAFile string // PEM of who vouches for it, with TLS

	t       testing.TB
	o       Options
	args    []string
	dir     string
	process *process
}

// Start starts a server, with its data on disk, and waits until it answers.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, o: o, dir: tempDir(t)}
	s.Socket = filepath.Join(s.dir, "redis.sock")
	s.args = []string{"--dir", s.dir, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no",
		"--unixsocket", s.Socket, "--repl-diskless-sync-delay", "0"}
	if o.TLS {
		var files []string
		files, s.CAFile = certificate(t, s.dir)
		s.args = append(s.args, files...)
	}
	if len(o.Users) > 0 {
		s.args = append(s.args, "--requirepass", AdminPassword)
		for name, rules := range o.Users {
			s.args = append(s.args, append([]string{"--user", name}, strings.Fields(rules)...)...)
		}
	}
	s.args = append(s.args, o.Args...)
	for try := 1; ; try++ { // somebody may be quicker to take a port that was free
		s.Addr = loopback.Address(t)
		err := s.start()
		if err == nil {
			break
		}
		if try == 3 {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Kill)
	return s
}

// URL is the server's address for session.redis.url.
func (s *Server) URL() string {
	if s.o.TLS {
		return "rediss://" + s.Addr
	}
	return "redis://" + s.Addr
}

func (s *Server) start() error {
	_, port, _ := net.SplitHostPort(s.Addr)
	ports := []string{"--port", port}
	if s.o.TLS {
		ports = []string{"--port", "0", "--tls-port", port}
	}
	var err error
	if s.process, err = run(s.dir, "redis-server", append(ports, s.args...)...); err != nil {
		return err
	}
	return s.process.until(10*time.Second, func() bool {
		out, err := s.cli("ping")
		return err == nil && out == "PONG"
	})
}

// Replicate starts a replica and waits until it confirms what it is sent.
func (s *Server) Replicate() *Server {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	o := Options{Users: s.o.Users, Args: []string{"--replicaof", host + " " + port}}
	if len(s.o.Users) > 0 {
		o.Args = append(o.Args, "--masterauth", AdminPassword)
	}
	before, r := s.Replicas(), Start(s.t, o)
	await(s.t, 15*time.Second, "replication", func() bool {
		s.CLI("set", "written-to-be-confirmed", "1", "px", "1") // without a write there is nothing to confirm
		return s.Replicas() > before
	})
	return r
}

// Replicas counts the replicas that confirm what they are sent.
func (s *Server) Replicas() int {
	return len(confirming.FindAllStringIndex(s.CLI("info", "replication"), -1))
}

var confirming = regexp.MustCompile(`state=online,offset=[1-9]`)

// Stop ends the server as an operator would: it writes everything down.
func (s *Server) Stop() { s.process.end(syscall.SIGTERM) }

// Kill ends the server at once. One that is down already stays so.
func (s *Server) Kill() { s.process.end(syscall.SIGKILL) }

// Freeze stops the process from doing anything, with its connections open.
func (s *Server) Freeze() { s.process.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.process.signal(syscall.SIGCONT) }

// Restart starts a server again that is down, with the data it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// CLI sends a command as the server's administrator and returns the answer.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.cli(args...)
	if err != nil || strings.HasPrefix(out, "ERR ") {
		s.t.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *Server) cli(args ...string) (string, error) {
	host, port, _ := net.SplitHostPort(s.Addr)
	all := []string{"-h", host, "-p", port}
	if s.o.TLS {
		all = append(all, "--tls", "--cacert", s.CAFile)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "redis-cli", append(all, args...)...)
	if len(s.o.Users) > 0 {
		c.Env = append(os.Environ(), "REDISCLI_AUTH="+AdminPassword)
	}
	out, err := c.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// tempDir is short, for a socket's path may have 107 bytes. Processes in it
// must be registered for their end after it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anteroom-redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// await asks again and again, at most for d.
func await(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}
