package pendingotel_test

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

func ExampleInstrument() {
	ctx := context.Background()
	reader := metric.NewManualReader() // a program has an exporter here, such as Prometheus
	b, err := pendingotel.Instrument(memory.New(), &pendingotel.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		panic(err)
	}
	reboots, err := pending.New(b, codec.JSON[string](), pending.Policy{Name: "reboot",
		PendingTimeout: time.Minute, RunningTimeout: time.Minute, Retention: time.Minute})
	if err != nil {
		panic(err)
	}
	for _, device := range []string{"device-7", "device-8"} {
		if _, err := reboots.Create(ctx, device, "for the update"); err != nil {
			panic(err)
		}
	}

	var rm metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &rm); err != nil {
		panic(err)
	}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			fmt.Println(m.Name, sum.DataPoints[0].Value)
		}
	}
	// Output: pendingq.request.created 2
}
