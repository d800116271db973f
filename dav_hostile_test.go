package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNamesOfFilesStayOutOfTheLog: also where a request does not get as far as
// the door of DAV.
func TestNamesOfFilesStayOutOfTheLog(t *testing.T) {
	w := ownFiles(t)
	const name = "/dav/files/testdoc/canary-patient.txt"
	for _, tt := range []struct {
		method string
		header []string
	}{
		{"GET", nil}, {"PROPFIND", []string{"Host: unknown.example.com"}}, {"TRACE", nil}, {"propfind", nil}, {"GET", []string{"X-Forwarded-Host: a b"}},
		{"COPY", []string{"Destination: " + name, "Host: unknown.example.com"}}, {"REPORT", nil}, {"COPY", []string{"Destination: " + name}}, {"REPORT", []string{"Destination: http://evil.example.com" + name}},
	} {
		w.ask(nil, tt.method, name, "<canary-patient>", append(tt.header, basic("testdoc", "testdoc123"))...)
		w.ask(nil, tt.method, name, "<canary-patient></x>", append(tt.header, basic("testdoc", "testdoc123"))...)
		w.ask(nil, tt.method, name, "<a>&canary-patient;</a>", append(tt.header, basic("testdoc", "testdoc123"))...)
	}
	w.stop()
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "canary-patient") {
			t.Errorf("the name of a file is in the log: %s", line)
		}
	}
}

// TestCredentialsOfOneServerAlone: what people have for Nextcloud is not sent
// to another server, nor in the clear where Nextcloud is reached by TLS.
func TestCredentialsOfOneServerAlone(t *testing.T) {
	for _, url := range []string{"https://radicale.example.com/", "http://cloud.example.com/remote.php/dav/calendars"} {
		sys := system{Environ: []string{"NEXTCLOUD_BASE_URL=https://cloud.example.com", "NEXTCLOUD_CLIENT_ID=x", "NEXTCLOUD_CLIENT_SECRET=y", "ANTEROOM_SERVER_PUBLIC_URL=https://app.example.com",
			"ANTEROOM_UPSTREAM=http://localhost:8001", "ANTEROOM_INTEGRATIONS_CALDAV_CREDENTIAL=user", "ANTEROOM_INTEGRATIONS_CALDAV_URL=" + url}, Out: io.Discard, Err: io.Discard}
		_, faults := loadConfig("", false, sys.lookup, sys.Environ)
		if !strings.Contains(faultText(faults), "integrations.caldav") {
			t.Errorf("credential: user at %s = %v, want it refused: people's credentials would go there", url, faults)
		}
	}
}

// TestBlanksByHTTP2 holds that no blank of a path gets into a request line.
func TestBlanksByHTTP2(t *testing.T) {
	w := ownFiles(t, "ANTEROOM_SERVER_H2C=true")
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Protocols: p}}
	r, err := http.NewRequest("GET", w.site+"/dav/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = "/dav/files/testdoc/x HTTP/1.0"
	r.Header.Set("Authorization", strings.TrimPrefix(basic("testdoc", "testdoc123"), "Authorization: "))
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("X-Request-Id") == "" {
		b, _ := io.ReadAll(resp.Body)
		t.Errorf("a path with a blank = %d %s, want our own 400", resp.StatusCode, b)
	}
}
