package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"anteroom/proxy/pages"
	"anteroom/session"
)

// storeTime is how long a store may take to answer the command line.
const storeTime = 2 * time.Second

const sessionsAbout = `They need session.store: redis, where the sessions of all replicas are known.
U is a person's id at the provider or their user name, S an id of the list.`

func listSessions(ctx context.Context, args []string, sys system) error {
	fs, file := flags("sessions list", "say who is signed in, from where and since when.", sys)
	user := fs.String("user", "", "only the sessions of this `USER` (id or user name)")
	asJSON := fs.Bool("json", false, "print one JSON array")
	if err := parse(fs, args); err != nil {
		return err
	}
	r, err := openRegister(*file, sys)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	found, err := r.find(ctx, selection{user: *user})
	if err != nil {
		return err
	}
	if *asJSON {
		return r.writeJSON(sys.Out, found)
	}
	return r.writeTable(sys.Out, found)
}

func revokeSessions(ctx context.Context, args []string, sys system) error {
	fs, file := flags("sessions revoke", "end a person's sessions, one session, or every one. Every replica knows at once.", sys)
	user := fs.String("user", "", "end the sessions of this `USER` (id or user name)")
	id := fs.String("id", "", "end the session with this `ID`")
	all := fs.Bool("all", false, "end every session; needs --yes")
	yes := fs.Bool("yes", false, "really")
	if err := parse(fs, args); err != nil {
		return err
	}
	which, err := chosen(*user, *id, *all, *yes)
	if err != nil {
		return err
	}
	r, err := openRegister(*file, sys)
	if err != nil {
		return err
	}
	defer r.close()
	return r.revoke(ctx, which, sys.Out)
}

// selection says which sessions; the zero value: every one.
type selection struct{ user, id string }

// String is whose or which one: of "ada".
func (s selection) String() string {
	switch {
	case s.user != "":
		return fmt.Sprintf("of the user %q", s.user)
	case s.id != "":
		return fmt.Sprintf("known by the id %q", s.id)
	}
	return "there"
}

func (s selection) has(o session.Overview) bool {
	return (s.user == "" || o.Subject == s.user || o.Username == s.user) && (s.id == "" || o.ID == s.id)
}

// chosen is what to revoke: exactly one of the three.
func chosen(user, id string, all, yes bool) (s selection, err error) {
	n := 0
	for _, set := range []bool{user != "", id != "", all} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return s, errors.New("sessions revoke: say which sessions, by one of --user, --id and --all")
	case all && !yes:
		return s, errors.New("sessions revoke: --all signs everybody out; say --yes, too, if that is meant")
	}
	return selection{user: user, id: id}, nil
}

// register is the list of sessions that all replicas share.
type register struct {
	store session.Shared
	codec *session.Codec
	pages *pages.Pages
	close func() error
}

// openRegister opens the store that the configuration names.
func openRegister(file string, sys system) (*register, error) {
	cfg, err := configured(file, sys)
	if err != nil {
		return nil, err
	}
	if cfg.Session.Store != "redis" {
		return nil, fmt.Errorf("session.store is %s: sessions are known to the serving process or the browsers alone, and cannot be reached from here; this command needs redis", cfg.Session.Store)
	}
	r := &register{}
	if r.codec, err = session.NewCodec(cfg.Session.Keys); err != nil {
		return nil, fmt.Errorf("session.keys: %w", err)
	}
	if r.pages, err = pages.New(); err != nil {
		return nil, err
	}
	redis, err := session.OpenRedis(cfg.Session.Redis, session.RedisOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	r.store, r.close = redis, redis.Close
	return r, nil
}

// find lists the sessions of a selection. A store may cut short the list of
// everybody's, so that a person is asked for by themselves, too.
func (r *register) find(ctx context.Context, which selection) ([]session.Overview, error) {
	found, err := session.ListAll(ctx, r.store, r.codec)
	if err == nil && which.user != "" {
		var theirs []session.Overview
		theirs, err = session.ListSubject(ctx, r.store, r.codec, which.user)
		found = append(found, theirs...)
	}
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(found, func(o session.Overview) bool {
		drop := seen[o.ID] || !which.has(o)
		seen[o.ID] = true
		return drop
	}), nil
}

// revoke ends the sessions that match, and says how many. Finding none is a
// failure. It lists again until nothing is left to end: a list has a limit.
func (r *register) revoke(ctx context.Context, which selection, out io.Writer) error {
	ended, found, err := r.revokeListed(ctx, which)
	for more := ended; err == nil && more > 0; ended += more {
		more, _, err = r.revokeListed(ctx, which)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s ended, then: %w", counted(ended), err)
	case found == 0:
		return fmt.Errorf("no session is %s; nobody was signed out", which)
	}
	_, err = fmt.Fprintf(out, "%s ended.\n", counted(ended))
	return err
}

// revokeListed ends what one list shows.
func (r *register) revokeListed(ctx context.Context, which selection) (ended, found int, err error) {
	finding, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	list, err := r.find(finding, which)
	if err != nil {
		return 0, 0, err
	}
	for _, o := range list {
		first, err := r.end(ctx, o)
		if err != nil {
			return ended, len(list), fmt.Errorf("ending sessions: %w", err)
		}
		if first {
			ended++
		}
	}
	return ended, len(list), nil
}

func (r *register) end(ctx context.Context, o session.Overview) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return session.EndListed(ctx, r.store, o)
}
