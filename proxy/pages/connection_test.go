package pages

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// forms lists where a page's forms are posted to.
func forms(doc *html.Node) (to []string) {
	for _, f := range all(doc, "form") {
		if attr(f, "method") == "post" {
			to = append(to, attr(f, "action"))
		}
	}
	return to
}

func TestConnectionOnThePage(t *testing.T) {
	a := connected(Account{})
	a.Access.Connect = "/auth/nextcloud/connect"
	for standing, want := range map[Standing]struct{ form, text string }{
		Unoffered:   {"", ""},
		Unconnected: {"/auth/nextcloud/connect", "let it act for you"},
		Connected:   {"/auth/nextcloud/disconnect", "as testdoc@hospital.example."},
		Unreachable: {"", "cannot be told at the moment"},
	} {
		a.Access.Standing = standing
		doc := page(t, "en", a)
		if got := strings.Join(forms(doc), " "); got != want.form || !strings.Contains(words(doc), want.text) {
			t.Errorf("standing %d: the page posts to %q, want %q, and %q in %q", standing, got, want.form, want.text, words(doc))
		}
		if offered := strings.Contains(words(doc), "Your files and calendars"); offered != (standing != Unoffered) {
			t.Errorf("standing %d: the part is there: %t", standing, offered)
		}
	}
	if got := words(page(t, "en", connected(Account{}))); !strings.Contains(got, "75 days ago") {
		t.Errorf("since when is not told: %q", got)
	}
	a.Access = Connection{Standing: Unconnected, Connect: "javascript:alert(1)"}
	if got := forms(page(t, "en", a)); len(got) != 0 {
		t.Errorf("the page posts to %q", got)
	}
}

// TestConnectingWaits: the page that waits leads to Nextcloud in a tab of its
// own and comes back to itself, with script and without.
func TestConnectingWaits(t *testing.T) {
	p := newPages(t)
	for stage, waits := range map[Stage]bool{WaitingForGrant: true, WaitingForCheck: true, GrantedByAnother: false, NotAccepted: false} {
		c := connecting(stage)
		res := render(p, get("en"), c)
		doc, err := html.Parse(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		data, script, plain := all(doc, "data"), all(doc, "script"), words(doc)
		if (len(data) == 1) != waits || (len(script) == 1) != waits || strings.Contains(plain, `content="3;url=/auth/nextcloud/connect"`) != waits {
			t.Errorf("stage %s: waits with script %t, without %t, want %t", c.State(), len(data) == 1, strings.Contains(plain, "3;url"), waits)
		}
		if waits && (attr(data[0], "data-follow") != c.Here || attr(data[0], "value") != c.State()) {
			t.Errorf("stage %s follows %q until it is not %q", c.State(), attr(data[0], "data-follow"), attr(data[0], "value"))
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; connect-src 'self'") {
			t.Errorf("stage %s: policy %q", c.State(), csp)
		}
		leads := false
		for _, a := range all(doc, "a") {
			if attr(a, "href") == c.Login {
				leads = attr(a, "target") == "_blank" && strings.Contains(attr(a, "rel"), "noopener")
			}
		}
		if leads != (stage == WaitingForGrant) {
			t.Errorf("stage %s leads to Nextcloud: %t", c.State(), leads)
		}
		if again := len(forms(doc)) == 1; again != (stage != WaitingForCheck) {
			t.Errorf("stage %s can be started again: %t", c.State(), again)
		}
	}
	for _, other := range []Page{Account{}, Disconnected{}, SignOutAsk{}} {
		if csp := render(p, get("en"), other).Header.Get("Content-Security-Policy"); strings.Contains(csp, "connect-src") {
			t.Errorf("%s: policy %q lets it call", other.name(), csp)
		}
	}
}

// TestConnectingLeadsNowhereElse: an address that is none has no link.
func TestConnectingLeadsNowhereElse(t *testing.T) {
	c := Connecting{Login: "javascript:alert(1)", Here: "//evil.example", Again: "data:x", Back: "vbscript:x"}
	doc := page(t, "en", c)
	if n := len(all(doc, "a")) + len(all(doc, "form")) + len(all(doc, "data")) + len(all(doc, "noscript")); n != 0 {
		t.Errorf("%d ways out, want none", n)
	}
}

func TestWhatIsLeftToDo(t *testing.T) {
	for left, want := range map[bool]string{true: "Please delete it there", false: "taken back at Nextcloud already"} {
		if got := words(page(t, "en", Connecting{Stage: GrantedByAnother, Left: left})); !strings.Contains(got, want) {
			t.Errorf("left %t: %q lacks %q", left, got, want)
		}
	}
}
