// Package collections is what calendars and address books have in common: one
// account's collections at a DAV server, with resources that are named by one
// segment of a path, changed only if nobody else did meanwhile, and listed by
// what changed. It trusts no server to say where they are outside of what is
// configured.
package collections

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-webdav"

	"anteroom/integrations"
	"anteroom/integrations/multistatus"
)

// Service is one account at a DAV service. Safe for concurrent use.
type Service struct {
	HTTP  *http.Client // attaches the credential; see [integrations.Access.Wire]
	URL   *url.URL     // of the service, as it is configured: a DAV root, or a home of collections
	Scope []string     // segments below URL that everything stays within; nil: all there is
	Name  string       // in refusals: "The calendar server"
	Kind  string       // of a resource, in refusals: "event"
}

// HomeOf asks where a principal's collections are, at an endpoint.
type HomeOf func(ctx context.Context, client webdav.HTTPClient, endpoint, principal string) (string, error)

// Home finds the path of the account's home, with a slash at its end. It asks
// who the account is at the service's URL, then at Nextcloud's DAV root; a URL
// at which nobody can say is itself taken for the home. sure is false then, and
// the home is not to be remembered.
func (s *Service) Home(ctx context.Context, homeOf HomeOf) (home string, sure bool, err error) {
	tries := []string{strings.TrimSuffix(s.URL.Path, "/") + "/"}
	if before, _, ok := strings.Cut(tries[0], "/remote.php/dav/"); ok {
		tries = append(tries, before+"/remote.php/dav/")
	}
	client := &http.Client{Transport: &bounded{s.HTTP.Transport}, CheckRedirect: s.HTTP.CheckRedirect}
	for _, try := range tries {
		w, err := webdav.NewClient(client, s.At(try))
		if err != nil {
			return "", false, integrations.Unusable(s.Name, err)
		}
		principal, err := w.FindCurrentUserPrincipal(ctx)
		if err == nil && principal != "" {
			home, err = homeOf(ctx, client, s.At(try), principal)
			if err == nil && strings.HasPrefix(home, "/") {
				return strings.TrimSuffix(home, "/") + "/", true, nil
			}
		}
		if p, ok := integrations.ProblemOf(err); ok {
			return "", false, p // what is wrong is not where one asks
		}
	}
	return tries[0], false, nil
}

// At is the URL of a path at the server.
func (s *Service) At(place string) string {
	return (&url.URL{Scheme: s.URL.Scheme, Host: s.URL.Host, Path: place}).String()
}

// Place is the path of a collection's href, with a slash at its end, if it lies
// where everything has to stay.
func (s *Service) Place(href string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil {
		return "", false
	}
	_, clean, err := integrations.CleanPath(strings.TrimSuffix(u.EscapedPath(), "/"))
	if err != nil || len(s.Scope) == 0 {
		return clean + "/", err == nil
	}
	within := strings.TrimSuffix(s.URL.Path, "/") + "/" + strings.Join(s.Scope, "/") + "/"
	return clean + "/", strings.HasPrefix(clean+"/", within)
}

// ID is the last segment of an href, decoded.
func ID(href string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil {
		return "", false
	}
	id, err := url.PathUnescape(path.Base(u.EscapedPath()))
	return id, err == nil && Plain("id", id) == nil
}

// Plain refuses ids that are no single segment of a path, in some spelling.
func Plain(field, id string) error {
	if _, clean, err := integrations.CleanPath("/" + url.PathEscape(id)); err != nil || clean != "/"+id || id == "" {
		return integrations.Invalid(field, "has slashes, dot segments or control characters, in some spelling.")
	}
	return nil
}

// Privileges is what the account may do with a collection (RFC 3744 §5.4).
type Privileges struct {
	List []struct {
		Write   *struct{} `xml:"DAV: write"`
		Content *struct{} `xml:"DAV: write-content"`
		Bind    *struct{} `xml:"DAV: bind"`
		All     *struct{} `xml:"DAV: all"`
	} `xml:"DAV: privilege"`
}

// ReadOnly reports whether nothing in the collection may be changed; false
// where the server does not say, of nil.
func (p *Privileges) ReadOnly() bool {
	if p == nil {
		return false
	}
	for _, may := range p.List {
		if may.Write != nil || may.Content != nil || may.Bind != nil || may.All != nil {
			return false
		}
	}
	return true
}

// Get fetches a resource, of at most some bytes.
func (s *Service) Get(ctx context.Context, place string, most int64) (text, etag string, err error) {
	// What is compressed on its way has another ETag than the resource.
	resp, err := s.do(ctx, http.MethodGet, place, nil, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return "", "", integrations.Lost(err)
	case int64(len(b)) > most:
		return "", "", integrations.Unusable(s.Name, errors.New("the resource is too large"))
	}
	return string(b), resp.Header.Get("ETag"), nil
}

// Held fetches a resource that is about to be changed, if it is the version that
// the caller has seen. Whoever changes it holds the server to the ETag that
// comes back, so that nothing is lost that comes in between. "*" takes whichever
// version there is; "" is refused.
func (s *Service) Held(ctx context.Context, place, ifMatch string, most int64) (text, etag string, err error) {
	if ifMatch == "" {
		return "", "", &integrations.Problem{Status: http.StatusPreconditionRequired, Reason: integrations.ReasonUnheld, Field: "If-Match",
			Text: "If-Match is missing: give the ETag of the " + s.Kind + ", so that nobody's change is lost."}
	}
	text, etag, err = s.Get(ctx, place, most)
	switch {
	case err != nil:
		return "", "", err
	case !whichever(ifMatch) && !listed(ifMatch, etag):
		return "", "", &integrations.Problem{Status: http.StatusPreconditionFailed, Reason: integrations.ReasonChanged, Text: "The " + s.Kind + " is not as If-Match wants it: ask for it again."}
	case etag == "":
		return "", "", integrations.Unusable(s.Name, errors.New("it gives no ETag"))
	}
	return text, etag, nil
}

// whichever reports whether an If-Match takes whichever version there is.
func whichever(ifMatch string) bool { return strings.TrimSpace(ifMatch) == "*" }

// listed reports whether an entity tag is in a list of them (RFC 9110 §13.1.1),
// in which a tag may have commas.
func listed(list, etag string) bool {
	for rest := strings.TrimLeft(list, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		end := strings.IndexByte(rest, ',')
		if opaque := strings.TrimPrefix(rest, "W/"); strings.HasPrefix(opaque, `"`) {
			if i := strings.IndexByte(opaque[1:], '"'); i >= 0 {
				end = len(rest) - len(opaque) + i + 2
			}
		}
		if end < 0 {
			end = len(rest)
		}
		if strings.TrimRight(rest[:end], " \t") == etag {
			return etag != ""
		}
		rest = rest[end:]
	}
	return false
}

// maxTries is how often a change is tried that takes whichever version there is.
const maxTries = 10

// Again does a change, and does it again where somebody else's came in between
// and ifMatch is "*": what is there then will do as well.
func Again(ifMatch string, change func() error) error {
	for n := 1; ; n++ {
		err := change()
		p, ok := integrations.ProblemOf(err)
		if !ok || p.Reason != integrations.ReasonChanged || !whichever(ifMatch) || n == maxTries {
			return err
		}
	}
}

// Put stores a resource under a condition: If-Match, or If-None-Match. etag is
// "" where the server changed what it was given (RFC 4791 §5.3.4).
func (s *Service) Put(ctx context.Context, place, media, text string, condition http.Header) (etag string, err error) {
	condition.Set("Content-Type", media)
	resp, err := s.do(ctx, http.MethodPut, place, strings.NewReader(text), condition)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return resp.Header.Get("ETag"), nil
}

// Make stores a resource that is not there yet. One that is, is a Problem of
// ReasonExists.
func (s *Service) Make(ctx context.Context, place, media, text string) (etag string, err error) {
	etag, err = s.Put(ctx, place, media, text, http.Header{"If-None-Match": {"*"}})
	if p, ok := integrations.ProblemOf(err); ok && p.Reason == integrations.ReasonChanged {
		return "", taken()
	}
	return etag, err
}

// Delete deletes a resource of a version.
func (s *Service) Delete(ctx context.Context, place, etag string) error {
	resp, err := s.do(ctx, http.MethodDelete, place, nil, http.Header{"If-Match": {etag}})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// do sends a request and judges the answer.
func (s *Service) do(ctx context.Context, method, place string, body io.Reader, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.At(place), body)
	if err != nil {
		return nil, integrations.Invalid(s.Kind, "cannot be asked for.")
	}
	r.Header = header
	resp, err := s.HTTP.Do(r)
	if err != nil {
		return nil, integrations.Lost(err)
	}
	if p := integrations.Answered(resp, s.Kind); p != nil {
		if method == http.MethodPut && resp.StatusCode < 500 && integrations.Peek(resp, "no-uid-conflict", "uid already exists") { // RFC 4791 §5.3.2.1, and Nextcloud's words
			p = taken()
		} else if resp.StatusCode == http.StatusConflict {
			p.Text = "The server finds that the " + s.Kind + " does not go with what is there."
		}
		resp.Body.Close()
		return nil, p
	}
	return resp, nil
}

func taken() *integrations.Problem {
	return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Field: "uid", Text: "There is a resource of that uid."}
}

// NewUID is a random one (RFC 7986 §5.3).
func NewUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Change is a resource that changed, or was deleted.
type Change struct {
	ID      string `json:"id"`
	ETag    string `json:"etag,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

// Changes are the resources of a collection that changed since a cursor (RFC
// 6578), and the next cursor. complete says that they are all there are now:
// without a cursor, or where the server knows no changes and something did.
func (s *Service) Changes(ctx context.Context, place, cursor string, each func(*Change) error) (next string, complete bool, err error) {
	before, listed := strings.CutPrefix(cursor, listCursor)
	if listed {
		return s.listed(ctx, place, before, each)
	}
	next, err = s.synced(ctx, place, cursor, each)
	p, ok := integrations.ProblemOf(err)
	switch {
	case !ok || p.Reason == integrations.ReasonCursor:
		return next, cursor == "", err
	case cursor != "" && p.Reason == integrations.ReasonInvalid:
		return "", false, expired()
	case cursor != "" && noReport(p): // of another server than this is now
		return "", false, expired()
	case noReport(p):
		return s.listed(ctx, place, "", each)
	}
	return "", false, err
}

func expired() error {
	return &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The server no longer knows that cursor: begin again without one."}
}

// noReport reports whether a server may have refused a REPORT because it does
// not know it (RFC 3253 §3.6).
func noReport(p *integrations.Problem) bool {
	return p.Reason == integrations.ReasonForbidden || p.Reason == integrations.ReasonConflict || p.Reason == integrations.ReasonMediaType ||
		p.Reason == integrations.ReasonInvalid
}

// maxParts is in how many parts a server may tell what changed.
const maxParts = 1000

// synced asks by a token of the server's, until it told all there is.
func (s *Service) synced(ctx context.Context, place, token string, each func(*Change) error) (next string, err error) {
	for range maxParts {
		next, cut, err := s.part(ctx, place, token, each)
		switch {
		case err != nil:
			return "", err
		case behind(next, token):
			return "", expired()
		case !cut:
			return next, nil
		case next == token:
			return "", integrations.Unusable(s.Name, errors.New("it says that there is more, and gives nothing"))
		}
		token = next
	}
	return "", integrations.Unusable(s.Name, errors.New("it always has more"))
}

// behind reports whether a token of Nextcloud's counts fewer changes than the
// one before: it was set back to a backup, and what changed since that differs
// nobody can tell. It answers then that nothing did.
func behind(next, before string) bool {
	const count = "http://sabre.io/ns/sync/"
	if !strings.HasPrefix(next, count) || !strings.HasPrefix(before, count) {
		return false
	}
	now, err := strconv.ParseUint(next[len(count):], 10, 64)
	was, errWas := strconv.ParseUint(before[len(count):], 10, 64)
	return err == nil && errWas == nil && now < was
}

// part asks once. cut: there is more.
func (s *Service) part(ctx context.Context, place, token string, each func(*Change) error) (next string, cut bool, err error) {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><d:sync-collection xmlns:d="DAV:"><d:sync-token>`)
	_ = xml.EscapeText(&b, []byte(token))
	b.WriteString(`</d:sync-token><d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>`)
	next, cut, err = s.etags(ctx, multistatus.Request{Method: "REPORT", URL: s.At(place), Body: b.String(), What: "collection", Most: maxChanges}, place, each)
	if err == nil && next == "" {
		err = integrations.Unusable(s.Name, errors.New("it gives no sync-token"))
	}
	return next, cut, err
}

// listCursor begins the cursors of servers that know no changes; what follows
// stands for all that there was.
const listCursor = "list:"

const (
	maxListed  = 100_000   // resources of such a server that are looked at
	maxChanges = 256 << 20 // bytes of a server's answer
)

// listed lists all there are, if they are other than before.
func (s *Service) listed(ctx context.Context, place, before string, each func(*Change) error) (next string, complete bool, err error) {
	var all []Change
	_, _, err = s.etags(ctx, multistatus.Request{Method: "PROPFIND", URL: s.At(place), Depth: "1", What: "collection", Most: maxChanges,
		Body: `<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>`}, place, func(c *Change) error {
		if len(all) == maxListed {
			return integrations.Unusable(s.Name, errors.New("it has more than can be compared"))
		}
		all = append(all, *c)
		return nil
	})
	if err != nil {
		return "", false, err
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.ID, b.ID) })
	h := sha256.New()
	for _, c := range all {
		fmt.Fprintf(h, "%q %q\n", c.ID, c.ETag)
	}
	now := hex.EncodeToString(h.Sum(nil))
	if now == before {
		return listCursor + now, false, nil
	}
	for i := range all {
		if err := each(&all[i]); err != nil {
			return "", false, err
		}
	}
	return listCursor + now, true, nil
}

// etags reads a multistatus of resources. cut: the server has more.
func (s *Service) etags(ctx context.Context, q multistatus.Request, place string, each func(*Change) error) (token string, cut bool, err error) {
	type prop struct {
		ETag string `xml:"DAV: getetag"`
	}
	token, err = multistatus.Ask(ctx, s.HTTP, q, func(r *multistatus.Response[prop]) error {
		at, ok := s.Place(r.Href)
		id, isID := ID(r.Href)
		if ok && at == place && r.Cut() {
			cut = true
		}
		if !ok || !isID || at == place || path.Dir(strings.TrimSuffix(at, "/"))+"/" != place {
			return nil // of another collection, or of one within this
		}
		return each(&Change{ID: id, ETag: r.Found().ETag, Deleted: r.Gone()})
	})
	return token, cut, err
}

// Named picks the collection with an id, or, if there is none, with the name
// that people see, which has to be its alone. ids gives both of one.
func Named[C any](all []C, ids func(*C) (id, name string), what, wanted string) (C, error) {
	var found []C
	for i := range all {
		id, name := ids(&all[i])
		if id == wanted {
			return all[i], nil
		}
		if name == wanted {
			found = append(found, all[i])
		}
	}
	var none C
	switch len(found) {
	case 0:
		return none, integrations.NotFound(what)
	case 1:
		return found[0], nil
	}
	return none, &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "", Text: "Several have that name: name one by its id."}
}

// bounded keeps answers that a library reads whole from being large, and errors
// of the server's from being taken for its not knowing.
type bounded struct{ rt http.RoundTripper }

const maxDiscovery = 1 << 20

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	rt := b.rt
	if rt == nil {
		rt = http.DefaultTransport
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented {
		resp.Body.Close()
		return nil, integrations.Answered(resp, "account")
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxDiscovery)
	return resp, nil
}
