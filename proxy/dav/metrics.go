package dav

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what this package counts.
type metrics struct {
	refused *prometheus.CounterVec
	uploads *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_dav_refused_total", Help: "DAV requests that were answered in Nextcloud's stead, by reason."}, []string{"reason"}),
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_dav_unsized_uploads_total", Help: "Uploads of unknown length, by how they went up: whole, in parts, or broken."}, []string{"how"}),
	}
	if reg != nil {
		reg.MustRegister(m.refused, m.uploads)
	}
	return m
}

// copyBuffers lends ReverseProxy its copy buffers.
type copyBuffers struct{}

const copySize = 64 << 10

var copyPool = sync.Pool{New: func() any { return new([copySize]byte) }}

// Get implements httputil.BufferPool.
func (copyBuffers) Get() []byte { return copyPool.Get().(*[copySize]byte)[:] }

// Put implements httputil.BufferPool.
func (copyBuffers) Put(b []byte) {
	if len(b) == copySize {
		copyPool.Put((*[copySize]byte)(b))
	}
}
