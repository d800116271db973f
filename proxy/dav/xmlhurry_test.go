package dav

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// tangled makes a well-formed document at random, in which namespaces are
// declared anew at any depth and paths stand where they count and where not.
func tangled(r *rand.Rand) []byte {
	var b bytes.Buffer
	spaces := []string{"DAV:", "x", "http://owncloud.org/ns", "http://calendarserver.org/ns/"}
	prefixes := []string{"d", "e", "oc"}
	names := []string{"href", "comments-href", "source", "prop", "status", "response", "x"}
	texts := []string{"", "/remote.php/dav/a", " /remote.php/dav/b?c=d!", "plain", strings.Repeat("long text ", 30), "<!-- <d:href>/remote.php/dav/</d:href> -->", "<![CDATA[/remote.php/dav/]]>"}
	var element func(depth int)
	element = func(depth int) {
		name := prefixes[r.IntN(len(prefixes))] + ":" + names[r.IntN(len(names))]
		b.WriteString("<" + name)
		if depth == 0 {
			for i, p := range prefixes {
				fmt.Fprintf(&b, ` xmlns:%s="%s"`, p, spaces[i%3])
			}
		} else if r.IntN(12) == 0 {
			fmt.Fprintf(&b, ` xmlns:%s="%s"`, prefixes[r.IntN(len(prefixes))], spaces[r.IntN(len(spaces))])
		}
		if depth > 0 && r.IntN(5) == 0 {
			b.WriteString("/>")
			return
		}
		b.WriteString(">" + texts[r.IntN(len(texts))])
		for n := r.IntN(6); n > 0 && depth < 7 && !strings.HasSuffix(name, "href"); n-- {
			element(depth + 1)
			b.WriteString(texts[r.IntN(len(texts))])
		}
		b.WriteString("</" + name + ">")
	}
	element(0)
	return b.Bytes()
}

// TestHurry: what is passed over makes no difference.
func TestHurry(t *testing.T) {
	mapped := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 7))
		doc := tangled(r)
		want, err := rewriteHurried(doc, 0)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sameBut(t, doc, want)
		for _, hurried := range []int{1, 20, worthIt} {
			got, err := rewriteHurried(doc, hurried, 1+r.IntN(500), 1+r.IntN(500))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d, hurried %d: %v\n got %s\nwant %s\n  of %s", seed, hurried, err, got, want, doc)
			}
		}
		mapped += bytes.Count(want, []byte("/dav/")) - bytes.Count(want, []byte("/remote.php/dav/"))
	}
	if mapped < 1000 {
		t.Errorf("%d paths mapped in all, want more", mapped)
	}
}
