package integrations

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/session"
)

// turning is a cloud that exchanges app passwords, and a file with one.
type turning struct {
	*testing.T
	*cloud
	path string
	base *url.URL
	http *http.Client

	mu   sync.Mutex // guards what follows
	lose string     // "answer": it exchanges and does not say; "question": neither
	fail int        // status instead of an answer; 0: none
	many int        // how often it exchanged
}

func newTurning(t *testing.T) *turning {
	t.Helper()
	w := &turning{T: t, cloud: newCloud(t), path: filepath.Join(t.TempDir(), "password")}
	w.base, _ = url.Parse(w.URL + "/cloud")
	w.http, _ = NewClient(NextcloudConfig{URL: w.base.String(), Timeout: 5 * time.Second})
	t.Cleanup(w.http.CloseIdleConnections)
	w.passwords["service\x00canary-first"] = "service"
	w.secrets = append(w.secrets, "canary-first")
	w.says = w.exchange
	w.write("canary-first\n")
	return w
}

// exchange answers core/apppassword/rotate. Called with the cloud's mu held.
func (w *turning) exchange(rw http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/apppassword/rotate") {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	login, password, _ := r.BasicAuth()
	uid, ok := w.passwords[login+"\x00"+password]
	switch {
	case w.lose == "question":
		panic(http.ErrAbortHandler)
	case w.fail != 0:
		rw.WriteHeader(w.fail)
		return true
	case !ok || r.Method != http.MethodPost || r.Header.Get("OCS-APIRequest") == "":
		rw.WriteHeader(http.StatusUnauthorized)
		return true
	}
	w.many++
	next := w.secret("canary-next-")
	delete(w.passwords, login+"\x00"+password)
	w.passwords[login+"\x00"+next] = uid
	if w.lose == "answer" {
		panic(http.ErrAbortHandler)
	}
	json.NewEncoder(rw).Encode(map[string]any{"ocs": map[string]any{"data": map[string]string{"apppassword": next}}})
	return true
}

func (w *turning) write(text string) {
	w.Helper()
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// rotation makes one of its own, as another process has it.
func (w *turning) rotation(change ...func(*RotationOptions)) *Rotation {
	o := RotationOptions{Base: w.base, Client: w.http, User: "service", Path: w.path, rest: time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	return NewRotation(o)
}

// later is a process to which a lock left now is too old.
func later(o *RotationOptions) { o.Now = func() time.Time { return time.Now().Add(2 * lockAge) } }

// good reports whether the file has what Nextcloud takes, and nothing is beside it.
func (w *turning) good() bool {
	w.Helper()
	b, _ := os.ReadFile(w.path)
	w.cloud.mu.Lock()
	_, ok := w.passwords["service\x00"+strings.TrimSpace(string(b))]
	w.cloud.mu.Unlock()
	return ok && slices.Equal(w.files(), []string{"password"})
}

func (w *turning) files() (names []string) {
	all, _ := os.ReadDir(filepath.Dir(w.path))
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

// quiet checks that an error says no password.
func (w *turning) quiet(err error) {
	w.Helper()
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	for _, s := range w.secrets {
		if err != nil && strings.Contains(err.Error(), s) {
			w.Errorf("a password shows: %v", err)
		}
	}
}

// TestRotateKeepsTheRights: whoever reads the file goes on doing so.
func TestRotateKeepsTheRights(t *testing.T) {
	w := newTurning(t)
	if err := os.Chmod(w.path, 0o640); err != nil {
		t.Fatal(err)
	}
	if how, err := w.rotation().Rotate(t.Context(), 0); how != RotatedNow || err != nil || !w.good() || w.left() != 1 {
		t.Errorf("Rotate = %s, %v, good = %v, %d passwords at Nextcloud, %v", how, err, w.good(), w.left(), w.files())
	}
	if info, _ := os.Stat(w.path); info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode = %v, want 0640 as before", info.Mode())
	}
	if how, err := w.rotation().Rotate(t.Context(), time.Hour); how != RotatedNotDue || err != nil || w.many != 1 {
		t.Errorf("Rotate(an hour) = %s, %v, exchanged %d times, want not due, once", how, err, w.many)
	}
}

// TestRotateAfterACrash stops one process at each step for good, and has
// another come after it.
func TestRotateAfterACrash(t *testing.T) {
	for _, tt := range []struct {
		step string
		how  Rotated // of who comes after
		many int     // exchanges at Nextcloud in the end
		lost bool
	}{
		{step: "asking", how: RotatedNotDue},
		{step: "answered", many: 1, lost: true},
		{step: "kept", how: RotatedBefore, many: 1},
		{step: "proven", how: RotatedBefore, many: 1},
		{step: "installed", how: RotatedNotDue, many: 1},
	} {
		t.Run(tt.step, func(t *testing.T) {
			w := newTurning(t)
			reached, end, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(gone)
				w.rotation(func(o *RotationOptions) {
					o.hook = func(step string) {
						if step == tt.step {
							close(reached)
							<-end
							runtime.Goexit()
						}
					}
				}).Rotate(t.Context(), 0)
			}()
			<-reached
			if how, err := w.rotation().Rotate(t.Context(), 0); how != RotatedElsewhere || err != nil {
				t.Errorf("Rotate at once = %s, %v, want elsewhere: the lock is young", how, err)
			}
			how, err := w.rotation(later).Rotate(t.Context(), time.Hour)
			w.quiet(err)
			switch {
			case tt.lost:
				if !errors.Is(err, ErrLost) {
					t.Errorf("Rotate afterwards = %s, %v, want ErrLost", how, err)
				}
				w.cloud.set(func(c *cloud) { c.passwords["service\x00canary-anew"] = "service" })
				w.write("canary-anew\n") // an operator has connected anew
				if how, err := w.rotation(later).Rotate(t.Context(), 24*time.Hour); how != RotatedNotDue || err != nil || !w.good() {
					t.Errorf("Rotate after connecting anew = %s, %v, %v, want not due", how, err, w.files())
				}
			case how != tt.how || err != nil || !w.good() || w.many != tt.many:
				t.Errorf("Rotate afterwards = %s, %v, good = %v, exchanged %d times, %v, want %s, %d", how, err, w.good(), w.many, w.files(), tt.how, tt.many)
			}
			close(end)
			<-gone
		})
	}
}

func TestRotateAnswersThatAreNone(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(w *turning)
		want error
		good bool
	}{
		{"answer lost", func(w *turning) { w.lose = "answer" }, ErrLost, false},
		{"question lost", func(w *turning) { w.lose = "question" }, ErrAway, true},
		{"server error", func(w *turning) { w.fail = 500 }, ErrAway, true},
		{"maintenance", func(w *turning) { w.fail = 503 }, ErrAway, true},
		{"the account's own password", func(w *turning) { w.fail = 403 }, nil, true},
		{"not there", func(w *turning) { w.fail = 404 }, nil, true},
		{"wrong before", func(w *turning) { w.write("canary-wrong") }, ErrRefused, false},
		{"empty before", func(w *turning) { w.write(" \n") }, ErrRefused, false},
		{"away before", func(w *turning) { w.cloud.set(func(c *cloud) { c.down = true }) }, ErrAway, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTurning(t)
			tt.set(w)
			how, err := w.rotation().Rotate(t.Context(), 0)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Rotate = %s, %v, want %v", how, err, tt.want)
			}
			w.quiet(err)
			if w.good() != tt.good {
				t.Errorf("good = %v with %v, want %v", w.good(), w.files(), tt.good)
			}
		})
	}
}

func TestRotateWhatMayNotBe(t *testing.T) {
	w := newTurning(t)
	link := w.path + "-link"
	if err := os.Symlink(w.path, link); err != nil {
		t.Fatal(err)
	}
	if how, err := w.rotation(func(o *RotationOptions) { o.Path = link }).Rotate(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("Rotate(a link) = %s, %v, want it refused", how, err)
	}
	if how, err := w.rotation(func(o *RotationOptions) { o.Path = w.path + "-absent" }).Rotate(t.Context(), 0); err == nil {
		t.Errorf("Rotate(nothing) = %s, %v, want an error", how, err)
	}
	if w.many != 0 {
		t.Errorf("Nextcloud exchanged %d times, want never", w.many)
	}
}

// TestRotateByMany: of several processes at once, one exchanges.
func TestRotateByMany(t *testing.T) {
	w := newTurning(t)
	if err := os.Chtimes(w.path, time.Now(), time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if how, err := w.rotation().Rotate(t.Context(), 24*time.Hour); err != nil {
				t.Errorf("Rotate = %s, %v, want no error", how, err)
			}
		})
	}
	all.Wait()
	if w.many != 1 || !w.good() {
		t.Errorf("exchanged %d times, good = %v, %v, want once", w.many, w.good(), w.files())
	}
}

// TestAnOldLockIsTakenOnce: of several who find one that is too old, one gets it.
func TestAnOldLockIsTakenOnce(t *testing.T) {
	w := newTurning(t)
	for range 50 {
		if err := os.WriteFile(lockOf(w.path), []byte("dead"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * lockAge)
		os.Chtimes(lockOf(w.path), old, old)
		var mu sync.Mutex
		var got []*lock
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if l, err := takeLock(w.path, time.Now); err == nil {
					mu.Lock()
					got = append(got, l)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		held := 0
		for _, l := range got {
			if l.held() {
				held++
			}
			l.release()
		}
		if held > 1 {
			t.Fatalf("%d hold the lock, want one at most", held)
		}
		os.Remove(lockOf(w.path))
	}
}

// TestExchangedMeanwhile: who is refused in the middle of an exchange waits for
// the new password; a body that cannot be sent again is to come again.
func TestExchangedMeanwhile(t *testing.T) {
	w := newTurning(t)
	file := NewSecretFile(w.path, "canary-first", nil)
	a := &Access{}
	grant := func() *Grant {
		return &Grant{Credential: session.Credential{User: "service", Secret: "canary-first"}, By: ByService, File: file, Service: "webdav", Caller: &Caller{}}
	}
	stop, kept := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := w.rotation(func(o *RotationOptions) {
			o.hook = func(step string) {
				if step == "kept" {
					close(kept)
					<-stop
				}
			}
		}).Rotate(t.Context(), 0)
		done <- err
	}()
	<-kept // the old one is dead, and the new one not in place
	ask := func(body io.Reader) (int, error) {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", w.base.String()+"/ocs/v2.php/cloud/user?format=json", body)
		r.Header.Set("OCS-APIRequest", "true")
		resp, err := a.Wire(w.http, grant()).Do(r)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	answered := make(chan int, 1)
	go func() { status, _ := ask(nil); answered <- status }()
	select {
	case status := <-answered:
		t.Fatalf("answered with %d before there was a new password", status)
	case <-time.After(3 * renewalLook):
	}
	close(stop)
	if status, err := <-answered, <-done; status != http.StatusOK || err != nil {
		t.Errorf("answered with %d, rotated with %v, want 200", status, err)
	}
	// Once it is exchanged, an old grant with a stream for a body:
	r, _ := http.NewRequestWithContext(t.Context(), "PUT", w.base.String()+"/ocs/v2.php/cloud/user", io.MultiReader(strings.NewReader("x")))
	g := grant()
	g.Credential.Set(r.Header)
	resp, err := g.Send(w.http.Transport, r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if p := a.Trouble(g, resp); p == nil || p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
		t.Errorf("a stream that was refused = %v, want 503 and when to come again", p)
	}
	// And one that is wrong for good:
	w.write("canary-wrong")
	file = NewSecretFile(w.path, "canary-wrong", nil)
	status, err := ask(nil)
	if p, _ := ProblemOf(err); p == nil || p.Reason != ReasonService {
		t.Errorf("a wrong password = %d, %v, want %s", status, err, ReasonService)
	}
}

// TestConnectedMeanwhile: what an operator connects while the password is being
// exchanged is neither lost nor left unused; only what opens nothing is.
func TestConnectedMeanwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		put  string
		left string // in the file; "" for what Nextcloud made
		err  error
	}{
		"a good one": {"canary-connected", "canary-connected", errReplaced},
		"a dead one": {"canary-first", "", nil},
	} {
		w := newTurning(t)
		w.passwords["service\x00canary-connected"] = "service"
		w.secrets = append(w.secrets, "canary-connected")
		_, err := w.rotation(func(o *RotationOptions) {
			o.hook = func(step string) {
				if step != "proven" {
					return
				}
				other := w.path + "-other"
				if err := os.WriteFile(other, []byte(tc.put), 0o600); err != nil {
					t.Error(err)
				}
				if err := os.Rename(other, w.path); err != nil {
					t.Error(err)
				}
			}
		}).Rotate(t.Context(), 0)
		b, _ := os.ReadFile(w.path)
		if !errors.Is(err, tc.err) || !w.good() || w.left() != 1 && tc.left != "" || tc.left != "" && string(b) != tc.left {
			t.Errorf("%s: Rotate = %v, good = %v, %d passwords at Nextcloud, %v", name, err, w.good(), w.left(), w.files())
		}
		w.quiet(err)
	}
}
