package dav

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordedAnswers rewrites what a Nextcloud answered: paths mapped, every
// other byte as it was, whatever the chunks.
func TestRecordedAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/nextcloud/*.xml")
	if err != nil || len(files) < 50 {
		t.Fatalf("recorded answers: %d, %v", len(files), err)
	}
	mapped := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xml"), func(t *testing.T) {
			doc, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The recorded server called itself so in full URLs.
			doc = bytes.ReplaceAll(doc, []byte("http://127.0.0.1:8080/"), []byte("https://cloud.example.com/"))
			for _, size := range []int{1, 2, 3, 7, 64, 1000, 1 << 20} {
				got, err := rewriteIn(doc, size)
				if err != nil {
					t.Fatalf("in chunks of %d: %v", size, err)
				}
				if slow, err := rewriteHurried(doc, 0, size); err != nil || !bytes.Equal(slow, got) {
					t.Errorf("in chunks of %d it differs by hurry: %v", size, err)
				}
				sameBut(t, doc, got)
				mapped += bytes.Count(got, []byte(">/dav/"))
			}
		})
	}
	if mapped < 1000 {
		t.Errorf("%d hrefs mapped in all, want more", mapped)
	}
}

// TestWhatIsRewritten is the table of what carries a path and what must be left
// alone. Documents are for somebody who came by /dav unless it says otherwise.
func TestWhatIsRewritten(t *testing.T) {
	const ns = ` xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:cs="http://calendarserver.org/ns/" xmlns:cal="urn:ietf:params:xml:ns:caldav"`
	same := "" // as it was
	tests := []struct {
		name, in, want string
	}{
		{"href", `<d:href>/remote.php/dav/files/x/</d:href>`, `<d:href>/dav/files/x/</d:href>`},
		{"the base itself", `<d:href>/remote.php/dav</d:href>`, `<d:href>/dav</d:href>`},
		{"within a property", `<d:owner><d:href>/remote.php/dav/principals/users/x/</d:href></d:owner>`, `<d:owner><d:href>/dav/principals/users/x/</d:href></d:owner>`},
		{"escapes stay", `<d:href>/remote.php/dav/files/x/%c3%bc%23(1)%20a.txt</d:href>`, `<d:href>/dav/files/x/%c3%bc%23(1)%20a.txt</d:href>`},
		{"entities stay", `<d:href>/remote.php/dav/a&amp;b</d:href>`, `<d:href>/dav/a&amp;b</d:href>`},
		{"white space stays", "<d:href>\n /remote.php/dav/a\n</d:href>", "<d:href>\n /dav/a\n</d:href>"},
		{"in other spelling", `<d:href>/remote%2ephp/d%61v/%61</d:href>`, `<d:href>/dav/%61</d:href>`},
		{"with a reference", `<d:href>&#47;remote.php&#x2F;dav/a</d:href>`, `<d:href>/dav/a</d:href>`},
		{"in CDATA", `<d:href><![CDATA[/remote.php/dav/a&b]]></d:href>`, `<d:href>/dav/a&amp;b</d:href>`},
		{"with a comment", `<d:href>/remote.php<!-- x -->/dav/a</d:href>`, `<d:href>/dav/a</d:href>`},
		{"full URL", `<cs:publish-url><d:href>https://cloud.example.com/remote.php/dav/public-calendars/t</d:href></cs:publish-url>`, `<cs:publish-url><d:href>https://voice.example.com/dav/public-calendars/t</d:href></cs:publish-url>`},
		{"comments", `<oc:comments-href>/remote.php/dav/comments/files/52</oc:comments-href>`, `<oc:comments-href>/dav/comments/files/52</oc:comments-href>`},
		{"malformed, as Nextcloud has it", `<d:href>/remote.php/dav/{DAV:}owner/</d:href>`, `<d:href>/dav/{DAV:}owner/</d:href>`},
		{"another default namespace", `<x xmlns="DAV:"><href>/remote.php/dav/</href></x>`, `<x xmlns="DAV:"><href>/dav/</href></x>`},
		{"prefix declared twice", `<a xmlns:d="x"><d:href>/remote.php/dav/</d:href></a><d:href>/remote.php/dav/</d:href>`, `<a xmlns:d="x"><d:href>/remote.php/dav/</d:href></a><d:href>/dav/</d:href>`},
		{"namespace with references", `<q:href xmlns:q="DA&#86;:">/remote.php/dav/</q:href>`, `<q:href xmlns:q="DA&#86;:">/dav/</q:href>`},

		{"source of a subscription", `<cs:source><d:href>/remote.php/dav/calendars/x</d:href></cs:source>`, same},
		{"source of a subscription elsewhere", `<cs:source><d:href>https://cloud.example.com/remote.php/dav/x</d:href></cs:source>`, same},
		{"sync token", `<d:sync-token>http://sabre.io/ns/sync/7</d:sync-token>`, same},
		{"sync token that looks like a path", `<d:sync-token>/remote.php/dav/</d:sync-token>`, same},
		{"ctag", `<cs:getctag>http://sabre.io/ns/sync/7</cs:getctag>`, same},
		{"principal URI", `<oc:invite><oc:user><d:href>principal:principals/users/x</d:href></oc:user></oc:invite>`, same},
		{"owner without a slash", `<oc:owner-principal>principals/users/x</oc:owner-principal>`, same},
		{"mail address", `<d:href>mailto:x@example.com</d:href>`, same},
		{"text of a calendar", `<cal:calendar-data>ATTACH:/remote.php/dav/files/x &lt;d:href&gt;/remote.php/dav/&lt;/d:href&gt;</cal:calendar-data>`, same},
		{"CDATA of a calendar", `<cal:calendar-data><![CDATA[<d:href>/remote.php/dav/</d:href>]]></cal:calendar-data>`, same},
		{"comment", `<!-- <d:href>/remote.php/dav/</d:href> -->`, same},
		{"display name", `<d:displayname>/remote.php/dav/</d:displayname>`, same},
		{"somebody else's href", `<cal:href>/remote.php/dav/</cal:href>`, same},
		{"another server", `<d:href>https://elsewhere.example.com/remote.php/dav/</d:href>`, same},
		{"without a scheme", `<d:href>//cloud.example.com/remote.php/dav/</d:href>`, same},
		{"another path", `<d:href>/remote.php/davx/</d:href>`, same},
		{"attribute", `<d:x d:href="/remote.php/dav/"/>`, same},
		{"empty", `<d:href/><d:href></d:href>`, same},
		{"with an element in it", `<d:href>/remote.php/dav/<d:x/></d:href>`, same},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, want := "<d:prop"+ns+">"+tt.in+"</d:prop>", "<d:prop"+ns+">"+tt.want+"</d:prop>"
			if tt.want == same {
				want = in
			}
			for _, size := range []int{1, 5, 1 << 16} {
				for _, hurried := range []int{0, 1, worthIt} {
					if got, err := rewriteHurried([]byte(in), hurried, size); err != nil || string(got) != want {
						t.Errorf("in chunks of %d, hurried %d: %v\n got %s\nwant %s", size, hurried, err, got, want)
					}
				}
			}
		})
	}
}

// TestWhoseHref: a client keeps the mount that it came in by, and what that
// does not hold belongs to the one that does.
func TestWhoseHref(t *testing.T) {
	mounts, files := testMounts()
	by := map[string]*Mount{files.Path: files}
	for _, m := range mounts {
		by[m.Path] = m
	}
	for _, tt := range []struct{ entry, in, want string }{
		{"/dav", "/remote.php/dav/calendars/x/", "/dav/calendars/x/"},
		{"/calendar", "/remote.php/dav/calendars/x/", "/calendar/x/"},
		{"/calendar", "/remote.php/dav/calendars", "/calendar"},
		{"/calendar", "/remote.php/dav/principals/users/x/", "/dav/principals/users/x/"},
		{"/calendar", "/remote.php/dav/addressbooks/users/x/", "/contacts/users/x/"},
		{"/contacts", "/remote.php/dav/calendars/x/", "/calendar/x/"},
		{"/contacts", "/remote.php/dav/calendarsx/", "/dav/calendarsx/"},
		{"/contacts", "/index.php", "/index.php"},
	} {
		got, _, _ := mounts.outwardFrom(by[tt.entry], anybody, "https://voice.example.com").replace(nil, []byte(tt.in))
		if got == nil {
			got = []byte(tt.in)
		}
		if string(got) != tt.want {
			t.Errorf("%s for who came by %s = %s, want %s", tt.in, tt.entry, got, tt.want)
		}
	}
}

// TestLongDocuments: what is too long to be a path is refused rather than held,
// and nothing else grows with the document.
func TestLongDocuments(t *testing.T) {
	long := strings.Repeat("x", maxTag+chunkSize)
	for name, doc := range map[string]string{"tag": "<a " + long + ">", "href": `<d:href xmlns:d="DAV:">` + long} {
		if _, err := rewriteIn([]byte(doc)); err == nil {
			t.Errorf("a %s of %d bytes = nil, want an error", name, len(long))
		}
	}
	for name, doc := range map[string]string{"text": "<a>" + long, "comment": "<!--" + long, "CDATA": "<![CDATA[" + long, "instruction": "<?" + long} {
		if got, err := rewriteIn([]byte(doc), 999); err != nil || string(got) != doc {
			t.Errorf("%s of %d bytes: %d bytes, %v; want it unchanged", name, len(doc), len(got), err)
		}
	}
	utf16 := []byte("\xff\xfe<\x00d\x00:\x00h\x00")
	if got, err := rewriteIn(utf16, 1); err != nil || !bytes.Equal(got, utf16) {
		t.Errorf("UTF-16 = %q, %v; want it unchanged", got, err)
	}
}
