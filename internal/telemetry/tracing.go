package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracing exports spans of API requests by OTLP. The steps of a boot are not
// here: they are kept with the server, so that they need no collector.
type Tracing struct {
	tracer   trace.Tracer
	on       bool
	shutdown func(context.Context) error
}

// NewTracing exports to where OTEL_EXPORTER_OTLP_ENDPOINT says, and costs
// nothing when it is not set.
func NewTracing(ctx context.Context, host string) (*Tracing, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return &Tracing{tracer: noop.NewTracerProvider().Tracer("hastack")}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "hastack"), attribute.String("host.name", host))))
	return &Tracing{tracer: provider.Tracer("hastack"), on: true, shutdown: provider.Shutdown}, nil
}

// Close sends what is left.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil || t.shutdown == nil {
		return nil
	}
	return t.shutdown(ctx)
}

// Request begins the span of a request that came in, as a child of the
// caller's; end it with the route and status. Both are free when off.
func (t *Tracing) Request(r *http.Request, service string) (context.Context, func(route string, status int)) {
	if t == nil || !t.on {
		return r.Context(), func(string, int) {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, service+" "+r.Method, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(route string, status int) {
		span.SetName(service + " " + r.Method + " " + route)
		span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", status),
			attribute.String("hastack.request_id", RequestID(ctx)))
		span.End()
	}
}

// Inject puts the span of ctx on a request that goes out.
func Inject(ctx context.Context, h http.Header) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
