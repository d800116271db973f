package mail

import (
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
)

// Attachment is a part of a message that is not its text.
type Attachment struct {
	Part      string `json:"part" doc:"names it within the message"`
	Name      string `json:"name" doc:"a plain file name: no folders, nothing that cannot be seen"`
	Type      string `json:"type"`
	Size      int64  `json:"size" doc:"in bytes, about"`
	ContentID string `json:"content_id,omitempty" doc:"by which the HTML refers to it, as cid:"`
	Inline    bool   `json:"inline" doc:"it is meant to be seen within the text"`
}

// leaf is a part that holds no other.
type leaf struct {
	*imap.BodyStructureSinglePart
	path []int
}

// parts is a message as it is read.
type parts struct {
	plain, html []leaf
	attachments []leaf
	cut         bool // there are more parts than are looked at
	seen        int
}

// partsOf sorts a message's parts. A message within it is an attachment.
func partsOf(b imap.BodyStructure) *parts {
	p := &parts{}
	p.walk(b, nil, "mixed")
	return p
}

func (p *parts) walk(b imap.BodyStructure, at []int, within string) {
	if p.seen++; p.seen > maxParts {
		p.cut = true
		return
	}
	switch b := b.(type) {
	case *imap.BodyStructureMultiPart:
		for i, child := range b.Children {
			if p.cut {
				return
			}
			p.walk(child, append(at[:len(at):len(at)], i+1), strings.ToLower(b.Subtype))
		}
	case *imap.BodyStructureSinglePart:
		if at == nil {
			at = []int{1}
		}
		p.sort(leaf{b, at}, within)
	}
}

func (p *parts) sort(l leaf, within string) {
	attached := l.disposition() == "attachment" || l.said() != ""
	switch media := l.media(); {
	case attached:
	case media == "text/plain" && within != "related":
		p.plain = append(p.plain, l)
		return
	case media == "text/html":
		p.html = append(p.html, l)
		return
	case within == "report", strings.HasPrefix(media, "multipart/"): // a multipart without parts
		return
	}
	p.attachments = append(p.attachments, l)
}

func (l leaf) disposition() string {
	if d := l.Disposition(); d != nil {
		return strings.ToLower(d.Value)
	}
	return ""
}

// media is the type, of characters that a header field may have.
func (l leaf) media() string {
	m := l.MediaType()
	if len(m) > 200 || m[0] == '/' || strings.HasSuffix(m, "/") ||
		strings.ContainsFunc(m, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"[]?=`, c) }) {
		return "application/octet-stream"
	}
	return m
}

func (l leaf) part() string {
	s := make([]string, len(l.path))
	for i, n := range l.path {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, ".")
}

func (l leaf) encoding() string { return strings.ToLower(strings.TrimSpace(l.Encoding)) }

// size is about how large the part is once it is decoded.
func (l leaf) size() int64 {
	if l.encoding() == "base64" {
		return int64(l.Size) * 57 / 78 // of lines of 76 characters with their ends
	}
	return int64(l.Size)
}

func (l leaf) attachment() Attachment {
	return Attachment{Part: l.part(), Name: l.name(), Type: l.media(), Size: l.size(), ContentID: messageIDLike(l.ID),
		Inline: l.disposition() == "inline" || l.ID != "" && l.disposition() != "attachment"}
}

// name is a file name that is only that.
func (l leaf) name() string {
	name := l.said()
	if name = plainName(decodeWords(name)); name != "" {
		return name
	}
	if l.MessageRFC822 != nil {
		return "message.eml"
	}
	return "attachment"
}

// said is the file name as the sender has it, of the disposition or of the type.
func (l leaf) said() string {
	if d := l.Disposition(); d != nil {
		if name := param(d.Params, "filename"); name != "" {
			return name
		}
	}
	return param(l.Params, "name")
}

// param is a parameter that may be encoded or in several pieces (RFC 2231).
func param(params map[string]string, name string) string {
	if s := params[name]; s != "" {
		return s
	}
	if s, ok := params[name+"*"]; ok {
		set, _, text := extended(s)
		return decoded(set, unescaped(text))
	}
	var whole strings.Builder
	set := ""
	for i := 0; i < 100; i++ {
		key := name + "*" + strconv.Itoa(i)
		if s, ok := params[key]; ok {
			whole.WriteString(s)
			continue
		}
		s, ok := params[key+"*"]
		if !ok {
			break
		}
		if i == 0 {
			set, _, s = extended(s)
		}
		whole.WriteString(unescaped(s))
	}
	return decoded(set, whole.String())
}

// extended takes charset'language'text apart.
func extended(s string) (set, language, text string) {
	set, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", "", s
	}
	language, text, ok = strings.Cut(rest, "'")
	if !ok {
		return "", "", s
	}
	return set, language, text
}

func unescaped(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

const maxName = 200

// plainName is a file name without folders, control characters and what turns
// the order of writing; "" if nothing is left.
func plainName(s string) string {
	s = path.Base(strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), `\`, "/"))
	s = strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Cf, c) || strings.ContainsRune(`:*?"<>|`, c) {
			return -1
		}
		return c
	}, plainLine(s))
	s = strings.Trim(s, ". /")
	if len(s) > maxName { // and keep what its kind is known by
		kind := path.Ext(s)
		if len(kind) > 20 {
			kind = ""
		}
		s = cut(s, maxName-len(kind)) + kind
	}
	return s
}

// messageIDLike is a content id without its brackets; "" for what is none.
func messageIDLike(s string) string {
	s = strings.Trim(strings.TrimSpace(s), "<>")
	if len(s) > 500 || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`<>"`, c) }) {
		return ""
	}
	return s
}
