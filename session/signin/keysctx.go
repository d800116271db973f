package signin

import (
	"context"
	"sync/atomic"
)

// keysContext is what go-oidc fetches keys with. It fetches them for whoever
// verifies a token first, though with the context that its key set was made
// with: for the sake of traces, this one has the values of the former's, too.
type keysContext struct {
	context.Context
	asking atomic.Pointer[context.Context] // nil: nobody verifies
}

// Value implements context.Context.
func (k *keysContext) Value(key any) any {
	if v := k.Context.Value(key); v != nil {
		return v
	}
	if asks := k.asking.Load(); asks != nil {
		return (*asks).Value(key)
	}
	return nil
}

// during has ctx's values until the function it returns is called.
func (k *keysContext) during(ctx context.Context) (over func()) {
	k.asking.Store(&ctx)
	return func() { k.asking.CompareAndSwap(&ctx, nil) }
}
