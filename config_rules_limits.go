package main

import "anteroom/proxy"

// checkLimits checks what clients may do to us.
func (l *loader) checkLimits(s proxy.Config) {
	if s.MaxURLBytes < 1024 || s.MaxURLBytes > 1<<20 {
		l.breaks("server.max_url_bytes", "is %d; write a number from 1024 to 1048576", s.MaxURLBytes)
	}
	if s.MaxMessageBytes < 0 {
		l.breaks("server.max_message_bytes", "is %d; write how many bytes a WebSocket message may have, or 0 for any number", s.MaxMessageBytes)
	}
	if s.MaxConnections < 0 {
		l.breaks("server.max_connections", "is %d; write how many connections there may be, or 0 for any number", s.MaxConnections)
	}
	if s.MaxConnectionsPerAddress < 0 {
		l.breaks("server.max_connections_per_address", "is %d; write how many connections an address may have, or 0 for any number", s.MaxConnectionsPerAddress)
	}
}
