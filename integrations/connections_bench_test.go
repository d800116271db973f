package integrations

import "testing"

// BenchmarkOf is what each request with a person's own credential pays.
func BenchmarkOf(b *testing.B) {
	s := newShelf() // whose clock stands still
	c := NewConnections(ConnectionsOptions{Now: s.clock})
	c.learn(connection{Subject: "ada", Login: "ada", Secret: "x"})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := c.Of(b.Context(), "ada"); !ok || err != nil {
			b.Fatalf("Of = %t, %v", ok, err)
		}
	}
}

// TestOfAllocatesNothing while what is known is fresh.
func TestOfAllocatesNothing(t *testing.T) {
	s := newShelf()
	c := NewConnections(ConnectionsOptions{Now: s.clock})
	c.learn(connection{Subject: "ada", Login: "ada", Secret: "x"})
	if n := testing.AllocsPerRun(100, func() { c.Of(t.Context(), "ada") }); n != 0 {
		t.Errorf("Of allocates %v times, want 0", n)
	}
}
