// Package docs holds the documentation and the compose files against the
// program: what they name exists, what they show can be loaded, what they have
// people type can be run.
package docs
