package watch

// table maps hashes to values, and holds at most so many: to make room, the one
// goes that was not asked for, or made, for longest. Not safe for concurrent use.
type table[V any] struct {
	most    int
	dropped func(*V) // is shown what goes; nil: nobody is

	at    map[uint64]int32
	nodes []node[V]
	first int32 // asked for last
	last  int32
	free  int32 // list by next
}

type node[V any] struct {
	key        uint64
	prev, next int32
	value      V
}

const none = int32(-1)

func newTable[V any](most int) *table[V] {
	return &table[V]{most: most, at: map[uint64]int32{}, first: none, last: none, free: none}
}

// get returns a value, nil for none. It is good until the next make.
func (t *table[V]) get(key uint64) *V {
	i, ok := t.at[key]
	if !ok {
		return nil
	}
	if i != t.first {
		t.unlink(i)
		t.link(i)
	}
	return &t.nodes[i].value
}

// peek is get that does not count as asking.
func (t *table[V]) peek(key uint64) *V {
	if i, ok := t.at[key]; ok {
		return &t.nodes[i].value
	}
	return nil
}

// make is get that makes a zero value where there is none.
func (t *table[V]) make(key uint64) *V {
	if v := t.get(key); v != nil {
		return v
	}
	if len(t.at) >= t.most {
		t.drop(t.nodes[t.last].key)
	}
	i := t.free
	if i == none {
		i = int32(len(t.nodes)) // #nosec G115 -- tables are bounded far below
		t.nodes = append(t.nodes, node[V]{})
	} else {
		t.free = t.nodes[i].next
	}
	t.nodes[i].key = key
	t.at[key] = i
	t.link(i)
	return &t.nodes[i].value
}

// drop forgets a value.
func (t *table[V]) drop(key uint64) {
	i, ok := t.at[key]
	if !ok {
		return
	}
	if t.dropped != nil {
		t.dropped(&t.nodes[i].value)
	}
	delete(t.at, key)
	t.unlink(i)
	t.nodes[i] = node[V]{next: t.free}
	t.free = i
}

// oldest is the value that was not asked for, or made, for longest; nil for none.
func (t *table[V]) oldest() (key uint64, v *V) {
	if t.last == none {
		return 0, nil
	}
	n := &t.nodes[t.last]
	return n.key, &n.value
}

func (t *table[V]) len() int { return len(t.at) }

func (t *table[V]) link(i int32) {
	n := &t.nodes[i]
	n.prev, n.next = none, t.first
	if t.first != none {
		t.nodes[t.first].prev = i
	} else {
		t.last = i
	}
	t.first = i
}

func (t *table[V]) unlink(i int32) {
	n := &t.nodes[i]
	if n.prev != none {
		t.nodes[n.prev].next = n.next
	} else {
		t.first = n.next
	}
	if n.next != none {
		t.nodes[n.next].prev = n.prev
	} else {
		t.last = n.prev
	}
}
