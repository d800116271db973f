package proxy

import (
	"net/http"
	"strings"
)

const reasonMalformed = "malformed_request"

// connectionHeaders have no place in HTTP/2 (RFC 9113 §8.2.2).
var connectionHeaders = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// wellFormed refuses what HTTP/2 forbids and net/http lets pass: what would say
// something else in HTTP/1.1, which the application may speak.
func wellFormed(r *http.Request) error {
	if r.ProtoMajor != 2 {
		return nil
	}
	malformed := &refusal{status: http.StatusBadRequest, reason: reasonMalformed, style: refuseByProblem}
	if target := r.RequestURI; !strings.HasPrefix(target, "/") && target != "*" && r.Method != http.MethodConnect {
		return malformed // the path of RFC 9113 §8.3.1 has no other form
	}
	for _, name := range connectionHeaders {
		if _, there := r.Header[name]; there {
			return malformed
		}
	}
	for _, te := range r.Header["Te"] {
		if te != "trailers" {
			return malformed
		}
	}
	for _, host := range r.Header["Host"] { // beside :authority (RFC 9113 §8.3.1)
		if !strings.EqualFold(host, r.Host) {
			return malformed
		}
	}
	if length := r.Header["Content-Length"]; len(length) > 1 || len(length) == 1 && !digits(length[0]) {
		return malformed
	}
	return nil
}

// digits reports whether a text is a number as RFC 9110 §8.6 has it.
func digits(s string) bool {
	return s != "" && len(s) < 19 && strings.Trim(s, "0123456789") == ""
}
