package mail

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
)

// scripted is an IMAP server that says what a test has it say. answer is asked
// first, with the command's line but for its tag; false leaves a command to
// what any server does.
type scripted struct {
	mailtest.Authority
	addr   string
	answer func(w *bufio.Writer, tag, line string) bool
}

func startScripted(t testing.TB, answer func(w *bufio.Writer, tag, line string) bool) *scripted {
	t.Helper()
	s := &scripted{Authority: mailtest.NewAuthority(t), answer: answer}
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.addr = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *scripted) serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	io.WriteString(w, "* OK [CAPABILITY IMAP4rev1 ESEARCH CONDSTORE UNSELECT UIDPLUS] ready\r\n")
	for w.Flush() == nil {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, line, _ := strings.Cut(strings.TrimSpace(line), " ")
		if s.answer != nil && s.answer(w, tag, line) {
			continue
		}
		switch word, _, _ := strings.Cut(line, " "); word {
		case "SELECT", "EXAMINE":
			io.WriteString(w, "* 5 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 6] x\r\n")
		case "LOGIN":
			io.WriteString(w, tag+" OK [CAPABILITY IMAP4rev1 ESEARCH CONDSTORE UNSELECT UIDPLUS] in\r\n")
			continue
		}
		io.WriteString(w, tag+" OK done\r\n")
	}
}

func (s *scripted) open(t testing.TB) *Account {
	t.Helper()
	a, err := Open(integrations.Mail{IMAP: "imaps://" + s.addr, Username: mailtest.User, Password: mailtest.Password, CAFile: s.File}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}
