package mail

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
)

// answers has a server answer FETCH, SEARCH and so on as is said; {tag} is what
// the answer begins with.
func answers(to map[string]string) func(*bufio.Writer, string, string) bool {
	return func(w *bufio.Writer, tag, line string) bool {
		for prefix, text := range to {
			if strings.HasPrefix(line, prefix) {
				io.WriteString(w, strings.ReplaceAll(text, "{tag}", tag))
				return true
			}
		}
		return false
	}
}

// TestHostileServer: whatever a server answers, there is an error soon, or a
// bounded answer; the account is there for the next caller.
func TestHostileServer(t *testing.T) {
	ctx := context.Background()
	read := func(a *Account) error { _, err := a.Message(ctx, "INBOX", "7.1"); return err }
	list := func(a *Account) error { _, err := a.Messages(ctx, "INBOX", Query{}); return err }
	changes := func(a *Account) error { _, err := a.Changes(ctx, "INBOX", "7.2.5"); return err }
	folders := func(a *Account) error { _, err := a.Folders(ctx); return err }
	down := func(from int, between string) string {
		var b strings.Builder
		for n := from; n > 0; n -= 2 {
			b.WriteString(between + strconv.Itoa(n))
		}
		return b.String()[len(between):]
	}
	all := "* ESEARCH (TAG \"{tag}\") UID ALL 1:5\r\n{tag} OK x\r\n"
	for name, tc := range map[string]struct {
		to     map[string]string
		do     func(*Account) error
		status int // zero: none
	}{
		"parts within parts":          {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 BODYSTRUCTURE " + strings.Repeat("(", 1<<20)}, read, 413},
		"parts behind a literal":      {map[string]string{"UID FETCH": "* OK a {999999999}\r\n* 1 FETCH (UID 1 BODYSTRUCTURE " + strings.Repeat("(", 1<<20)}, read, 413},
		"parts behind a quote":        {map[string]string{"UID FETCH": "* OK it's \"\r\n* 1 FETCH (UID 1 BODYSTRUCTURE " + strings.Repeat("(", 1<<20)}, read, 413},
		"parts in a list of messages": {map[string]string{"UID SEARCH": all, "UID FETCH": "* 1 FETCH (UID 1 BODYSTRUCTURE " + strings.Repeat("(", 1<<20)}, list, 502},
		"a header of 1 GiB":           {map[string]string{"UID SEARCH": all, "UID FETCH": "* 1 FETCH (UID 1 BODY[HEADER] {1073741824}\r\n" + strings.Repeat("x", 2<<20)}, list, 502},
		"nonsense":                    {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 NONSENSE 1)\r\n{tag} OK x\r\n"}, read, 502},
		"mail in the place of IMAP":   {map[string]string{"UID FETCH": "* canary-text of a mail\r\n"}, read, 502},
		"an item of nobody's":         {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 canary-text 1)\r\n"}, read, 502},
		"not IMAP":                    {map[string]string{"UID FETCH": "HTTP/1.1 200 OK\r\n\r\n"}, read, 502},
		"another message":             {map[string]string{"UID FETCH": "* 1 FETCH (UID 2 FLAGS ())\r\n{tag} OK x\r\n"}, read, 404},
		"no structure":                {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 FLAGS ())\r\n{tag} OK x\r\n"}, read, 502},
		"an empty structure":          {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 BODYSTRUCTURE (\"\" \"\" NIL NIL NIL \"\" 0))\r\n{tag} OK x\r\n"}, read, 0},
		"every number there is":       {map[string]string{"UID SEARCH": "* ESEARCH (TAG \"{tag}\") UID ALL 1:4294967295\r\n{tag} OK x\r\n"}, list, 0},
		"zeros":                       {map[string]string{"UID SEARCH": "* SEARCH 0 0 0\r\n{tag} OK x\r\n"}, list, 0},
		"stars":                       {map[string]string{"UID SEARCH": "* ESEARCH (TAG \"{tag}\") UID ALL 1:*\r\n{tag} OK x\r\n"}, list, 502},
		"numbers without end":         {map[string]string{"UID SEARCH": "* SEARCH" + strings.Repeat(" 4", 5<<20)}, list, 502},
		"numbers in disorder":         {map[string]string{"UID SEARCH": "* SEARCH " + down(800_000, " ") + "\r\n{tag} OK x\r\n"}, list, 502},
		"a set in disorder":           {map[string]string{"UID SEARCH": "* ESEARCH (TAG \"{tag}\") UID ALL " + down(800_000, ",") + "\r\n{tag} OK x\r\n"}, list, 502},
		"numbers the wrong way round": {map[string]string{"UID SEARCH": "* SEARCH " + down(20_000, " ") + "\r\n{tag} OK x\r\n"}, list, 0},
		"no UIDVALIDITY":              {map[string]string{"EXAMINE": "* 5 EXISTS\r\n{tag} OK x\r\n"}, list, 502},
		"no status":                   {map[string]string{"STATUS": "{tag} OK x\r\n"}, changes, 502},
		"every number is new":         {map[string]string{"STATUS": "* STATUS INBOX (UIDNEXT 4294967295 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n{tag} OK x\r\n", "UID SEARCH": "* ESEARCH (TAG \"{tag}\") UID ALL 1:4294967294\r\n{tag} OK x\r\n"}, changes, 0},
		"marks without end":           {map[string]string{"STATUS": "* STATUS INBOX (UIDNEXT 2 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n{tag} OK x\r\n", "UID FETCH": strings.Repeat("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n", 1<<20)}, changes, 0},
		"folders without end":         {map[string]string{"LIST": strings.Repeat("* LIST () \"/\" x\r\n", 1<<20)}, folders, 502},
		"a folder with line breaks":   {map[string]string{"LIST": "* LIST () \"/\" {4}\r\na\r\nb\r\n{tag} OK x\r\n"}, folders, 502},
		"a refusal that quotes":       {map[string]string{"EXAMINE": "{tag} NO [ALERT] canary " + mailtest.Password + "\r\n"}, list, 409},
		"BAD":                         {map[string]string{"EXAMINE": "{tag} BAD\r\n"}, list, 502},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t, answers(tc.to))
			a := s.open(t)
			err := tc.do(a)
			p, ok := integrations.ProblemOf(err)
			switch {
			case tc.status == 0 && err != nil, tc.status != 0 && (!ok || p.Status != tc.status):
				t.Errorf("error = %v, want %d", err, tc.status)
			case ok && strings.Contains(strings.ToLower(p.Error()+p.Text), "canary"):
				t.Errorf("error = %v, want nothing of the server's words", err)
			}
			if a.pool.places.Held() != 0 {
				t.Error("a connection is still in use")
			}
		})
	}
}

func TestChangesAreBounded(t *testing.T) {
	s := startScripted(t, answers(map[string]string{"STATUS": "* STATUS INBOX (UIDNEXT 5000 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n{tag} OK x\r\n",
		"UID SEARCH": "* ESEARCH (TAG \"{tag}\") UID ALL 1:4999\r\n{tag} OK x\r\n"}))
	a, n, cursor := s.open(t), 0, "7.2.9"
	for range 10 {
		ch, err := a.Changes(context.Background(), "INBOX", cursor)
		if err != nil || len(ch.New) > maxChanged {
			t.Fatalf("Changes() = %d, %v, want %d at most", len(ch.New), err, maxChanged)
		}
		n, cursor = n+len(ch.New), ch.Cursor
		if !ch.More {
			break
		}
	}
	if n != 4998 || cursor != "7.5000.9" {
		t.Errorf("Changes() = %d up to %s, want 4998 up to 7.5000.9", n, cursor)
	}
}

// TestLargeAttachment streams 100 MB; it is never in memory.
func TestLargeAttachment(t *testing.T) {
	const size = 100 << 20
	line := []byte(base64.StdEncoding.EncodeToString(make([]byte, 57)) + "\r\n")
	lines := size / 57
	s := startScripted(t, func(w *bufio.Writer, tag, cmd string) bool {
		if !strings.HasPrefix(cmd, "UID FETCH") {
			return false
		}
		if strings.Contains(cmd, "BODYSTRUCTURE") {
			fmt.Fprintf(w, "* 1 FETCH (UID 1 FLAGS () BODYSTRUCTURE (\"application\" \"zip\" NIL NIL NIL \"base64\" %d))\r\n%s OK x\r\n", lines*len(line), tag)
			return true
		}
		fmt.Fprintf(w, "* 1 FETCH (UID 1 BODY[1] {%d}\r\n", lines*len(line))
		for range lines {
			w.Write(line)
		}
		fmt.Fprintf(w, ")\r\n%s OK x\r\n", tag)
		return true
	})
	a := s.open(t)
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c, err := a.Attachment(context.Background(), "INBOX", "7.1", "1")
	if err != nil {
		t.Fatal(err)
	}
	most, total := uint64(0), int64(0)
	for {
		n, err := io.CopyN(io.Discard, c, 10<<20)
		total += n
		runtime.ReadMemStats(&during)
		most = max(most, during.HeapAlloc)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if total != int64(lines)*57 {
		t.Errorf("attachment = %d bytes, want %d", total, lines*57)
	}
	grown := int64(most) - int64(before.HeapAlloc)
	t.Logf("the heap grew by %d KiB", grown>>10)
	if grown > 8<<20 {
		t.Errorf("the heap grew by %d MiB, want a few", grown>>20)
	}
	if len(a.pool.free) != 1 {
		t.Error("the connection was not kept")
	}
}

// TestHostileMail reads mail that is made to break its reader, or to show what
// is not so.
func TestHostileMail(t *testing.T) {
	many := "Content-Type: multipart/mixed; boundary=m\n\n" + strings.Repeat("--m\n\nx\n", 10000) + "--m--\n"
	part := func(head, body string) string {
		return "Mime-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n--m\n" + head + "\n\n" + body + "\n--m--\n"
	}
	for name, tc := range map[string]struct {
		mail  string
		check func(m *Message) any
		want  any
	}{
		"ten thousand parts":      {many, func(m *Message) any { return []bool{m.Incomplete, m.Truncated} }, []bool{true, true}},
		"nothing":                 {"", func(m *Message) any { return m.Text + m.HTML }, ""},
		"no body":                 {"Subject: x\n", func(m *Message) any { return m.Subject + m.Text }, "x"},
		"an unknown charset":      {"Content-Type: text/plain; charset=x-klingon\n\nabc \xe4", func(m *Message) any { return m.Text }, "abc ä"},
		"a wrong charset":         {"Content-Type: text/plain; charset=utf-8\n\nabc \xe4\xff", func(m *Message) any { return m.Text }, "abc \uFFFD"},
		"no charset":              {"Content-Type: text/plain\n\nabc \xe4", func(m *Message) any { return m.Text }, "abc ä"},
		"ISO-2022-JP":             {"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B4A;z\x1b(B", func(m *Message) any { return m.Text }, "漢字"},
		"control characters":      {"Subject: a\x00\x07b\x1b[31m\n\na\x00b\x1bc", func(m *Message) any { return m.Subject + m.Text }, "ab[31mabc"},
		"broken base64":           {"Content-Transfer-Encoding: base64\n\naGVs*bG8gd29y bGQ", func(m *Message) any { return m.Text }, "hello world"},
		"broken quoted-printable": {"Content-Transfer-Encoding: quoted-printable\n\na=ZZb=", func(m *Message) any { return m.Text }, "a=ZZb"},
		"an unknown encoding":     {"Content-Transfer-Encoding: x-uuencode\n\nabc", func(m *Message) any { return m.Text }, "abc"},
		"broken encoded words":    {"Subject: =?utf-8?q?a=ZZ?= =?nonsense?b?!!!?= =?utf-8?b?4oCu?=x\n\n", func(m *Message) any { return m.Subject }, "=?utf-8?q?a=ZZ?= =?nonsense?b?!!!?= x"},
		"turned writing":          {"From: =?utf-8?b?4oCubW9jLmxpdmU=?= <a@example.org>\nSubject: =?utf-8?b?4oCubW9j?=\n\n", func(m *Message) any { return m.From[0].Name + m.Subject }, "moc.livemoc"},
		"line breaks in words":    {"Subject: =?utf-8?q?a=0D=0ABcc:_x?=\n\n", func(m *Message) any { return m.Subject }, "a  Bcc: x"},
		"no address":              {"From: Nobody at all\nTo: <<>>, ;;\n\n", func(m *Message) any { return m.From }, []Correspondent{{Name: "Nobody at all"}}},
		"an address in disorder":  {"From: \"Ann\" (x <ann@example.org>\n\n", func(m *Message) any { return m.From[0].Email }, "ann@example.org"},
		"an impossible date":      {"Date: Mon, 99 Foo 99999 99:99:99 +9999\n\n", func(m *Message) any { return m.Date.Year() }, 2026},
		"an impossible zone":      {"Date: Mon, 2 Mar 2026 10:00:00 +9959\n\n", func(m *Message) any { return m.Date.UTC().Hour() }, 9},
		"folders in a name":       {part("Content-Disposition: attachment; filename=\"..\\\\..\\\\evil.exe\"", "x"), func(m *Message) any { return m.Attachments[0].Name }, "evil.exe"},
		"folders of Unix":         {part("Content-Disposition: attachment; filename=\"/etc/../../passwd\"", "x"), func(m *Message) any { return m.Attachments[0].Name }, "passwd"},
		"a turned name":           {part("Content-Disposition: attachment; filename*=utf-8''invoice%E2%80%AEfdp.exe", "x"), func(m *Message) any { return m.Attachments[0].Name }, "invoicefdp.exe"},
		"line breaks in a name":   {part("Content-Disposition: attachment; filename*=utf-8''a%0D%0AX-Evil%3A%20b", "x"), func(m *Message) any { return m.Attachments[0].Name }, "a  X-Evil b"},
		"a name of dots":          {part("Content-Disposition: attachment; filename=\"...\"", "x"), func(m *Message) any { return m.Attachments[0].Name }, "attachment"},
		"a long name":             {part("Content-Disposition: attachment; filename=\""+strings.Repeat("a", 500)+".pdf\"", "x"), func(m *Message) any { return len(m.Attachments[0].Name) }, maxName},
		"a type of line breaks":   {part("Content-Type: \"text/x\\r\\nSet-Cookie: a\"\nContent-Disposition: attachment", "x"), func(m *Message) any { return strings.ContainsAny(m.Attachments[0].Type, "\r\n ") }, false},
		"a message within":        {part("Content-Type: message/rfc822", "Subject: inner\n\n<b>x</b>"), func(m *Message) any { return []string{m.Text, m.Attachments[0].Type, m.Attachments[0].Name} }, []string{"", "message/rfc822", "message.eml"}},
		"HTML alone":              {"Content-Type: text/html\n\n<h1>Guten&nbsp;Tag</h1><p>eine<br>Zeile &lt;b&gt;", func(m *Message) any { return m.Text }, "Guten Tag\n\neine\nZeile <b>"},
		"a long text":             {"\n" + strings.Repeat("0123456789abcde\n", 80<<10), func(m *Message) any { return []any{len(m.Text) <= maxText, m.Truncated} }, []any{true, true}},
		"a long header":           {"Subject: x\nTo: " + strings.Repeat("a@example.org, ", 5000) + "b@example.org\nMessage-ID: <late@example.org>\n\ntext", func(m *Message) any { return []string{m.Subject, m.Text} }, []string{"x", "text"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, mailtest.Rich)
			s.Put(t, "INBOX", tc.mail)
			s.Put(t, "INBOX", plainMail)
			a := open(t, s)
			p, err := a.Messages(context.Background(), "INBOX", Query{})
			if err != nil || len(p.Items) != 2 {
				t.Fatalf("Messages() = %d, %v, want two: one mail spoils no list", len(p.Items), err)
			}
			m, err := a.Message(context.Background(), "INBOX", p.Items[1].ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tc.check(m)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
