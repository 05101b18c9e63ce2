package bench

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheProxyDelaysWithoutSerialising(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, arriving := net.Pipe()
		leaving, server := net.Pipe()
		go func() {
			forward(leaving, arriving, time.Millisecond)
			leaving.Close()
		}()
		start := time.Now()
		for range 100 {
			if _, err := io.WriteString(client, "PING"); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		got, err := io.ReadAll(server)
		if len(got) != 400 || err != nil {
			t.Errorf("%d bytes arrived, want 400: %v", len(got), err)
		}
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("100 parts took %v, want one delay of 1ms", took)
		}
	})
}
