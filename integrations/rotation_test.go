package integrations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/session"
)

// vault is a pretend Nextcloud, a file with an app password of testdoc's, and
// what stands between.
type vault struct {
	*testing.T
	base   *url.URL
	path   string
	asked  atomic.Int32 // to rotate
	before func() bool  // true: the request does not arrive
	after  func() bool  // true: the answer does not
	away   atomic.Bool
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{T: t, path: filepath.Join(t.TempDir(), "password")}
	cloud := demo.NewNextcloud(demo.Options{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.away.Load() {
			panic(http.ErrAbortHandler)
		}
		if !strings.HasSuffix(r.URL.Path, "/rotate") {
			cloud.ServeHTTP(w, r)
			return
		}
		if v.before != nil && v.before() {
			panic(http.ErrAbortHandler)
		}
		v.asked.Add(1)
		rec := httptest.NewRecorder()
		cloud.ServeHTTP(rec, r)
		if v.after != nil && v.after() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(s.Close)
	v.base, _ = url.Parse(s.URL)
	v.write(v.fresh())
	return v
}

// fresh is a new app password.
func (v *vault) fresh() string {
	v.Helper()
	r, _ := http.NewRequest("GET", v.base.String()+"/ocs/v2.php/core/getapppassword?format=json", nil)
	r.SetBasicAuth(demo.DefaultUser, demo.DefaultPassword)
	r.Header.Set("OCS-APIRequest", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		OCS struct {
			Data struct {
				Password string `json:"apppassword"`
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.OCS.Data.Password == "" {
		v.Fatalf("no app password: %d %v", resp.StatusCode, err)
	}
	return said.OCS.Data.Password
}

func (v *vault) write(secret string) {
	v.Helper()
	if err := os.WriteFile(v.path, []byte(secret+"\n"), 0o600); err != nil {
		v.Fatal(err)
	}
}

func (v *vault) read() string {
	v.Helper()
	b, err := os.ReadFile(v.path)
	if err != nil {
		v.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// rotation is one of the file's; later is by how much its clock is ahead.
func (v *vault) rotation(later time.Duration, hook func(string)) *Rotation {
	return NewRotation(RotationOptions{Base: v.base, Client: &http.Client{Timeout: 5 * time.Second}, User: demo.DefaultUser, Path: v.path,
		Now: func() time.Time { return time.Now().Add(later) }, hook: hook, rest: time.Millisecond})
}

// good reports whether Nextcloud accepts a password.
func (v *vault) good(secret string) bool {
	n := newNextcloud(v.base, http.DefaultClient)
	_, err := n.Owner(context.Background(), session.Credential{User: demo.DefaultUser, Secret: session.Secret(secret)})
	return err == nil
}

// alone checks that nothing is left beside the file.
func (v *vault) alone() {
	v.Helper()
	names, _ := filepath.Glob(v.path + "*")
	if len(names) != 1 {
		v.Errorf("left are %v, want the file alone", names)
	}
}

func TestRotate(t *testing.T) {
	v := newVault(t)
	old := v.read()
	how, err := v.rotation(0, nil).Rotate(context.Background(), 0)
	now := v.read()
	if how != RotatedNow || err != nil || now == old || !v.good(now) || v.good(old) {
		t.Errorf("Rotate = %q, %v; new good %v, old good %v", how, err, v.good(now), v.good(old))
	}
	if info, err := os.Stat(v.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want mode 0600", info, err)
	}
	v.alone()
	if how, err := v.rotation(0, nil).Rotate(context.Background(), time.Hour); how != RotatedNotDue || err != nil || v.read() != now {
		t.Errorf("Rotate(young) = %q, %v, want not due", how, err)
	}
	if how, err := v.rotation(2*time.Hour, nil).Rotate(context.Background(), time.Hour); how != RotatedNow || err != nil {
		t.Errorf("Rotate(old) = %q, %v", how, err)
	}
	v.alone()
}

// crash is what a hook panics with, as though the machine had gone.
type crash struct{}

// TestCrashes stops a rotation at every step, puts the disk back to how it was
// then, and has somebody else go on.
func TestCrashes(t *testing.T) {
	for step, want := range map[string]struct {
		how Rotated
		err error
	}{
		"asking":    {RotatedNow, nil},    // nothing had happened
		"answered":  {"", ErrLost},        // nobody has the new one
		"kept":      {RotatedBefore, nil}, // it was on the disk
		"proven":    {RotatedBefore, nil},
		"installed": {RotatedNow, nil}, // all was done: this is the next one
	} {
		t.Run(step, func(t *testing.T) {
			v := newVault(t)
			disk := map[string][]byte{}
			func() {
				defer func() {
					if r := recover(); r != nil && r != (crash{}) {
						panic(r)
					}
				}()
				_, _ = v.rotation(0, func(at string) {
					if at != step {
						return
					}
					names, _ := filepath.Glob(v.path + "*")
					for _, name := range names {
						disk[name], _ = os.ReadFile(name)
					}
					panic(crash{})
				}).Rotate(context.Background(), 0)
				t.Fatal("the rotation was not stopped")
			}()
			names, _ := filepath.Glob(v.path + "*")
			for _, name := range names {
				os.Remove(name)
			}
			for name, content := range disk {
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if how, err := v.rotation(0, nil).Rotate(context.Background(), 0); how != RotatedElsewhere || err != nil {
				t.Errorf("Rotate while the lock is young = %q, %v, want elsewhere", how, err)
			}
			how, err := v.rotation(lockAge+time.Second, nil).Rotate(context.Background(), 0)
			if how != want.how || !errors.Is(err, want.err) {
				t.Errorf("Rotate after a crash = %q, %v, want %q, %v", how, err, want.how, want.err)
			}
			if want.err == nil {
				if !v.good(v.read()) {
					t.Error("what is in the file is not accepted")
				}
				v.alone()
				return
			}
			v.write(v.fresh()) // an operator connects anew
			if how, err := v.rotation(2*lockAge, nil).Rotate(context.Background(), 0); err != nil || !v.good(v.read()) {
				t.Errorf("Rotate after connecting anew = %q, %v", how, err)
			}
			v.alone()
		})
	}
}

// TestServersThatFail: what a server does, or leaves undone, costs no password
// that could be saved.
func TestServersThatFail(t *testing.T) {
	yes := func() bool { return true }
	t.Run("does not get the request", func(t *testing.T) {
		v := newVault(t)
		old := v.read()
		v.before = yes
		if _, err := v.rotation(0, nil).Rotate(context.Background(), 0); err == nil || errors.Is(err, ErrLost) || v.read() != old || !v.good(old) {
			t.Errorf("Rotate = %v; the file is the old one: %v", err, v.read() == old)
		}
		v.alone()
	})
	t.Run("its answer gets lost", func(t *testing.T) {
		v := newVault(t)
		v.after = yes
		if _, err := v.rotation(0, nil).Rotate(context.Background(), 0); !errors.Is(err, ErrLost) {
			t.Errorf("Rotate = %v, want ErrLost", err)
		}
	})
	t.Run("is away from the start", func(t *testing.T) {
		v := newVault(t)
		old := v.read()
		v.away.Store(true)
		if _, err := v.rotation(0, nil).Rotate(context.Background(), 0); !errors.Is(err, ErrAway) || v.read() != old {
			t.Errorf("Rotate = %v", err)
		}
		v.alone()
	})
	t.Run("is away before the new one is proven", func(t *testing.T) {
		v := newVault(t)
		old := v.read()
		_, err := v.rotation(0, func(step string) { v.away.Store(step == "kept" || v.away.Load()) }).Rotate(context.Background(), 0)
		if err == nil || errors.Is(err, ErrLost) || v.read() != old {
			t.Errorf("Rotate = %v", err)
		}
		v.away.Store(false)
		if how, err := v.rotation(0, nil).Rotate(context.Background(), time.Hour); how != RotatedBefore || err != nil || !v.good(v.read()) {
			t.Errorf("Rotate later = %q, %v", how, err)
		}
		v.alone()
	})
	t.Run("the account's own password", func(t *testing.T) {
		v := newVault(t)
		v.write(demo.DefaultPassword)
		if _, err := v.rotation(0, nil).Rotate(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "own password") || v.read() != demo.DefaultPassword {
			t.Errorf("Rotate = %v, want that it is no app password", err)
		}
		v.alone()
	})
	t.Run("a symbolic link", func(t *testing.T) {
		v := newVault(t)
		real := v.path + "-real"
		if err := errors.Join(os.Rename(v.path, real), os.Symlink(real, v.path)); err != nil {
			t.Fatal(err)
		}
		if _, err := v.rotation(0, nil).Rotate(context.Background(), 0); err == nil || v.asked.Load() != 0 {
			t.Errorf("Rotate = %v after asking %d times, want a refusal", err, v.asked.Load())
		}
	})
	t.Run("no error says the password", func(t *testing.T) {
		v := newVault(t)
		old := v.read()
		v.after = yes
		_, err := v.rotation(0, nil).Rotate(context.Background(), 0)
		if strings.Contains(err.Error(), old) {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestOneRotates: of several replicas with one file, one asks.
func TestOneRotates(t *testing.T) {
	v := newVault(t)
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(v.path, old, old); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var rotated atomic.Int32
	for range 8 {
		wg.Go(func() {
			how, err := v.rotation(0, nil).Rotate(context.Background(), time.Hour)
			if err != nil {
				t.Errorf("Rotate = %v", err)
			}
			if how == RotatedNow {
				rotated.Add(1)
			}
		})
	}
	wg.Wait()
	if rotated.Load() != 1 || v.asked.Load() != 1 || !v.good(v.read()) {
		t.Errorf("%d rotated, asking %d times", rotated.Load(), v.asked.Load())
	}
	v.alone()
}

// TestSendAgain: a request whose password was exchanged at this moment goes out
// once more, with its body, and no other does.
func TestSendAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, password+" "+string(b))
		if password != "new" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	for _, tc := range []struct {
		name   string
		by     Means
		first  session.Secret
		body   io.Reader
		status int
		want   string
	}{
		{"exchanged", ByService, "old", bytes.NewReader([]byte("x")), 200, "old x|new x"},
		{"without a body", ByService, "old", nil, 200, "old |new "},
		{"a body that comes once", ByService, "old", io.MultiReader(strings.NewReader("x")), 401, "old x"},
		{"a person's own", ByRequest, "old", nil, 401, "old "},
		{"good", ByService, "new", nil, 200, "new "},
	} {
		seen = nil
		g := &Grant{By: tc.by, Credential: session.Credential{User: "svc", Secret: tc.first}, File: NewSecretFile(path, "old", nil)}
		r, _ := http.NewRequest("PROPFIND", s.URL, tc.body)
		g.Credential.Set(r.Header)
		resp, err := g.Send(http.DefaultTransport, r)
		if err != nil || resp.StatusCode != tc.status || strings.Join(seen, "|") != tc.want {
			t.Errorf("%s: Send = %v, %v after %q, want %d after %q", tc.name, resp, err, strings.Join(seen, "|"), tc.status, tc.want)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}
