package demo

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// homes holds what everybody has at the DAV server.
type homes struct {
	mu    sync.Mutex
	byUID map[string]*home // guarded by mu; made when first opened
	ids   int              // guarded by mu: file ids given out
}

// home is one person's files, calendars and address books, in memory.
type home struct {
	mu               sync.Mutex // held while a request is answered
	files            *node
	trash            []*trashed
	uploads          map[string]*upload
	calendars, books *shelf
	nextID           func() int
}

func newHomes() *homes { return &homes{byUID: make(map[string]*home), ids: 50} }

func (h *homes) nextID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids++
	return h.ids
}

// of opens a person's home.
func (h *homes) of(uid string, now time.Time) *home {
	h.mu.Lock()
	defer h.mu.Unlock()
	x, ok := h.byUID[uid]
	if !ok {
		x = &home{uploads: map[string]*upload{}, nextID: h.nextID}
		x.calendars, x.books = newShelves()
		h.ids += 3
		x.files = newFolder(h.ids-2, now)
		x.files.add(&node{id: h.ids - 1, name: "Documents", dir: true, modified: now})
		x.files.add(&node{id: h.ids, name: "Welcome.md", modified: now,
			data: []byte("# Welcome\n\nThese files live in memory and are gone when the demo ends.\n")})
		h.byUID[uid] = x
	}
	return x
}

// dav answers everything under /remote.php/.
func (n *Nextcloud) dav(w http.ResponseWriter, r *http.Request) {
	if n.davFault(w, r) {
		return
	}
	if r.URL.Path == "/remote.php/" {
		n.notFound(w, r)
		return
	}
	root, ok := rootOf(r.URL.Path)
	if !ok { // Nextcloud's page for this has a status that says otherwise
		n.open(w, r)
		n.pages.show(w, http.StatusOK, "error", view{Title: "Internal Server Error", Message: "The server was unable to complete your request."})
		return
	}
	who, ok := n.davCaller(w, r)
	if !ok {
		return
	}
	c := &davCall{n: n, r: r, who: who.account, root: root, home: n.homes.of(who.UID, n.o.Now())}
	c.path = root.inner(tidy(strings.TrimPrefix(r.URL.Path+"/", root.prefix)), who.UID)
	a, err := c.answer()
	c.send(w, a, err)
}

// answer reads the request and answers it with the home locked.
func (c *davCall) answer() (*reply, error) {
	if err := c.readBody(); err != nil {
		return nil, err
	}
	c.home.mu.Lock()
	defer c.home.mu.Unlock()
	switch c.r.Method {
	case http.MethodOptions:
		if _, err := c.resolve(c.path); err != nil {
			return done(http.StatusOK, "Allow", davMethods+", MKCOL", "MS-Author-Via", "DAV"), nil
		}
		return done(http.StatusOK, "Allow", davMethods, "MS-Author-Via", "DAV"), nil
	case "PROPFIND":
		return c.propfind()
	case "PROPPATCH":
		return c.proppatch()
	case "REPORT":
		return c.report()
	case "SEARCH":
		if c.path == "" && c.root.kind == "dav" {
			return c.search()
		}
	}
	return c.act()
}

// act does what changes or fetches things, which each tree does in its own way.
func (c *davCall) act() (*reply, error) {
	top, rest, _ := strings.Cut(c.path, "/")
	switch {
	case c.r.Method == "LOCK", c.r.Method == "UNLOCK":
	case top == "files":
		return c.fileMethod()
	case top == "uploads":
		return c.uploadMethod()
	case top == "trashbin":
		return c.trashMethod(rest)
	case top == "calendars", top == "addressbooks":
		return c.shelfMethod()
	case c.r.Method == http.MethodGet, c.r.Method == http.MethodHead:
		r, err := c.resolve(c.path)
		if err != nil {
			return nil, err
		}
		return c.show(r)
	}
	return nil, unsupported(c.r.Method)
}

// unsupported refuses a method nobody wants to handle.
func unsupported(method string) *fault {
	return refused(http.StatusNotImplemented, "There was no plugin in the system that was willing to handle this "+method+" method.")
}

// show is GET of a collection.
func (c *davCall) show(r resource) (*reply, error) {
	if !r.dir {
		return nil, unsupported(c.r.Method)
	}
	return &reply{status: http.StatusOK, body: []byte("This is the WebDAV interface. It can only be accessed by WebDAV clients such as the Nextcloud desktop sync client.")}, nil
}

// tops are the trees at the root of the newer tree.
var tops = [...]string{"principals", "files", "calendars", "system-calendars", "public-calendars", "addressbooks", "systemtags",
	"systemtags-relations", "comments", "uploads", "avatars", "provisioning", "trashbin", "versions"}

// resolve finds what is at a place.
func (c *davCall) resolve(place string) (resource, error) {
	names := strings.Split(place, "/")
	switch names[0] {
	case "files":
		return c.fileAt(names[1:])
	case "uploads":
		return c.uploadAt(names[1:])
	case "trashbin":
		return c.trashAt(names[1:])
	case "principals":
		return c.principalAt(names[1:])
	case "calendars", "addressbooks":
		return c.shelfAt(names)
	case "versions", "avatars":
		if len(names) > 1 && names[1] != c.who.UID {
			return resource{}, notHere("Principal with name " + names[1] + " not found")
		}
		if len(names) < 4 {
			return collection(place), nil
		}
	}
	if place == "" {
		r := collection("")
		r.inside = func() []resource {
			var all []resource
			for _, top := range tops {
				if t, err := c.resolve(top); err == nil {
					all = append(all, t)
				}
			}
			return all
		}
		return r, nil
	}
	for _, top := range tops {
		if place == top {
			return collection(place), nil
		}
	}
	return resource{}, notHere(fmt.Sprintf("File not found: %s in 'root'", names[0]))
}

// collection is one that nothing is known of but that it is one.
func collection(place string, inside ...resource) resource {
	return resource{place: place, dir: true, props: told(resourceType(el(nsDAV, "collection"))), inside: func() []resource { return inside }}
}

func resourceType(kinds ...element) element { return el(nsDAV, "resourcetype", kinds) }

// person checks the uid in a path: those of others are told from none.
func (c *davCall) person(uid string) error {
	if _, ok := c.n.users.get(uid); !ok {
		return notHere("Principal with name " + uid + " not found")
	}
	if uid != c.who.UID {
		return notHere("Node with name '" + uid + "' could not be found")
	}
	return nil
}
