package telemetry

import "context"

type requestIDKey struct{}

// WithRequestID returns ctx that carries the id of the request it serves; the
// id follows into logs, bus messages and calls to other services.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID is the id of the request that ctx serves, "" outside a request.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
