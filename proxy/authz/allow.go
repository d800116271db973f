package authz

import "anteroom/session"

// Allow says who may pass a rule. It is session's, because integrations have
// one as well as routes.
type Allow = session.Allow
