// Package session remembers who is calling and for how long. It trusts
// nothing a browser sends until it has been opened with our keys or found in
// the store, and it never ends a session because something else is broken.
package session
