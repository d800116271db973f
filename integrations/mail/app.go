package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"anteroom/integrations"
)

// App is an account of Nextcloud's Mail app, which has a small API: folders, lists
// of messages, one message, and sending without attachments.
type App struct {
	base    string
	account int
	from    string
	secret  []byte
	keys    *keys
	now     func() time.Time
}

// OpenApp makes one of what is configured.
func OpenApp(cfg integrations.Mail, o Options) *App {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &App{base: AppAt(cfg), account: cfg.Nextcloud, from: cfg.From, secret: []byte(cfg.Password.Reveal()), keys: newKeys(o, "app "+strconv.Itoa(cfg.Nextcloud)), now: o.Now}
}

// AppAt is where the app's API is, below which it has its paths.
func AppAt(cfg integrations.Mail) string {
	return strings.TrimSuffix(cfg.AppURL, "/") + "/ocs/v2.php/apps/mail"
}

// Through is the account, asked by a client that attaches the credential; see
// [integrations.Access.Wire].
func (a *App) Through(client *http.Client) Box { return &appBox{App: a, http: client} }

type appBox struct {
	*App
	http *http.Client
}

// id names a message to the caller. It can only be made here: Nextcloud would
// show the messages of all accounts that its user has.
func (a *App) id(n int64) string {
	m := hmac.New(sha256.New, a.secret)
	fmt.Fprintf(m, "anteroom/mail\x00%d\x00%d", a.account, n)
	return strconv.FormatInt(n, 10) + "." + hex.EncodeToString(m.Sum(nil)[:12])
}

func (a *App) number(id string) (int64, error) {
	s, _, _ := strings.Cut(id, ".")
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !hmac.Equal([]byte(a.id(n)), []byte(id)) {
		return 0, integrations.NotFound("message")
	}
	return n, nil
}

// absent is what the app's API has not.
func absent(what string) error {
	return &integrations.Problem{Status: http.StatusNotFound, Reason: integrations.ReasonUnavailable,
		Text: "Nextcloud's Mail app offers programs no " + what + "; with integrations.mail.imap_url it would be there."}
}

// appMailbox is a folder, as the app has it.
type appMailbox struct {
	ID         int64    `json:"databaseId"`
	Name       string   `json:"name"`
	SpecialUse []string `json:"specialUse"`
	Unread     *int64   `json:"unread"`
}

func (b *appBox) mailboxes(ctx context.Context) (all []appMailbox, err error) {
	err = b.ask(ctx, http.MethodGet, "/mailbox/list", url.Values{"accountId": {strconv.Itoa(b.account)}}, nil, "account", &all)
	return all[:min(len(all), maxFolders)], err
}

// Folders implements Box.
func (b *appBox) Folders(ctx context.Context) ([]Mailbox, error) {
	all, err := b.mailboxes(ctx)
	folders := make([]Mailbox, 0, len(all))
	for _, m := range all {
		f := Mailbox{Name: plainLine(m.Name), Unseen: m.Unread}
		if strings.EqualFold(f.Name, "INBOX") {
			f.Role = "inbox"
		} else if len(m.SpecialUse) > 0 {
			f.Role = roleNames[strings.ToLower(m.SpecialUse[0])]
		}
		folders = append(folders, f)
	}
	slices.SortStableFunc(folders, inboxFirst)
	return folders, err
}

// appAddress is an address, as the app has it.
type appAddress struct {
	Label string `json:"label,omitempty"`
	Email string `json:"email"`
}

func correspondents(list []appAddress) []Correspondent {
	all := []Correspondent{}
	for _, a := range list[:min(len(list), maxAddresses)] {
		c := Correspondent{Name: plainLine(a.Label), Email: plainLine(a.Email)}
		if c.Name == c.Email {
			c.Name = ""
		}
		all = append(all, c)
	}
	return all
}

// appMessage is a message, as the app has it in lists and alone.
type appMessage struct {
	DatabaseID int64           `json:"databaseId"`
	MessageID  string          `json:"messageId"`
	Subject    string          `json:"subject"`
	Date       int64           `json:"dateInt"` // Unix time
	Flags      json.RawMessage `json:"flags"`   // [] when there are none
	From       []appAddress    `json:"from"`
	To         []appAddress    `json:"to"`
	CC         []appAddress    `json:"cc"`
	ReplyTo    []appAddress    `json:"replyTo"`
	IsHTML     bool            `json:"hasHtmlBody"`
	Body       string          `json:"body"`
}

func (b *appBox) summary(m *appMessage, n int64) Summary {
	var f struct{ Seen, Flagged, Answered, HasAttachments bool }
	_ = json.Unmarshal(m.Flags, &f)
	return Summary{ID: b.id(n), MessageID: messageID(m.MessageID), Subject: plainLine(m.Subject), From: correspondents(m.From), To: correspondents(m.To), CC: correspondents(m.CC),
		Date: header{}.date(time.Unix(m.Date, 0).UTC()), Seen: f.Seen, Flagged: f.Flagged, Answered: f.Answered, HasAttachments: f.HasAttachments}
}

// Messages implements Box. The app goes on by time: of messages of the same
// second at the end of a page, the next may miss some.
func (b *appBox) Messages(ctx context.Context, folder string, q Query) (page Page, err error) {
	if q.Text+q.From+q.To+q.Subject != "" || q.Unseen || !q.Since.IsZero() || !q.Before.IsZero() {
		return page, absent("search")
	}
	ask := url.Values{"limit": {strconv.Itoa(cmp.Or(q.Limit, 50))}, "view": {"singleton"}}
	if q.Cursor != "" {
		if _, err := strconv.ParseUint(q.Cursor, 10, 62); err != nil {
			return page, integrations.Invalid("cursor", "is none of ours.")
		}
		ask.Set("cursor", q.Cursor)
	}
	all, err := b.mailboxes(ctx)
	if err != nil {
		return page, err
	}
	i := slices.IndexFunc(all, func(m appMailbox) bool { return m.Name == folder })
	if i < 0 {
		return page, integrations.NotFound("folder")
	}
	ask.Set("mailboxId", strconv.FormatInt(all[i].ID, 10))
	var found []appMessage
	if err := b.ask(ctx, http.MethodGet, "/mailbox/messages/list", ask, nil, "folder", &found); err != nil {
		return page, err
	}
	page.Items = []Summary{}
	for i := range found[:min(len(found), cmp.Or(q.Limit, 50))] {
		page.Items = append(page.Items, b.summary(&found[i], found[i].DatabaseID))
	}
	if n := len(page.Items); n > 0 && n == cmp.Or(q.Limit, 50) {
		page.Cursor = strconv.FormatInt(found[n-1].Date, 10)
	}
	return page, nil
}

// Message implements Box.
func (b *appBox) Message(ctx context.Context, _, message string) (*Message, error) {
	n, err := b.number(message)
	if err != nil {
		return nil, err
	}
	var m appMessage
	if err := b.ask(ctx, http.MethodGet, "/message/"+strconv.FormatInt(n, 10), nil, nil, "message", &m); err != nil {
		return nil, err
	}
	out := &Message{Summary: b.summary(&m, n), ReplyTo: correspondents(m.ReplyTo), InReplyTo: []string{}, References: []string{}, Attachments: []Attachment{}}
	body := cut(m.Body, maxText)
	if out.Truncated = len(body) < len(m.Body); m.IsHTML {
		out.HTML = safeHTML(body)
		out.Text = textOf(out.HTML)
	} else {
		out.Text = plainText(body)
	}
	return out, nil
}

// ask puts a question to the app (OCS), or gives it something to do.
func (b *appBox) ask(ctx context.Context, method, path string, query url.Values, body any, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*commandTime)
	defer cancel()
	var content io.Reader
	if body != nil {
		j, err := json.Marshal(body)
		if err != nil {
			return integrations.Unusable("Nextcloud", fmt.Errorf("composing a request: %w", err))
		}
		content = bytes.NewReader(j)
	}
	if query == nil {
		query = url.Values{}
	}
	query.Set("format", "json")
	r, err := http.NewRequestWithContext(ctx, method, b.base+path+"?"+query.Encode(), content)
	if err != nil {
		return integrations.Unusable("Nextcloud", errors.New("an address that cannot be asked"))
	}
	r.Header.Set("OCS-APIRequest", "true")
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := b.http.Do(r)
	if err != nil {
		return integrations.Lost(err)
	}
	defer resp.Body.Close()
	if p := integrations.Answered(resp, what); p != nil {
		return p
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return integrations.Lost(err)
	}
	var envelope struct {
		OCS struct {
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil || len(answer) > maxAnswer {
		return integrations.Unusable("Nextcloud", errors.New("an answer of the Mail app that cannot be read"))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(envelope.OCS.Data, into); err != nil {
		return integrations.Unusable("Nextcloud", errors.New("an answer of the Mail app that is of another form"))
	}
	return nil
}
