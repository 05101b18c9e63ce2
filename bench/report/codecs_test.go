package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/bench"
)

func TestAFigureOfACodecIsTheMedianOverTheRounds(t *testing.T) {
	c := codecFigure{payload: "ping", codec: "json", op: "marshal", bytes: 51}
	for _, took := range []time.Duration{9000, 1000, 4000} {
		c.rounds = append(c.rounds, testing.BenchmarkResult{N: 1, T: took})
	}
	if got, want := c.cell(), "4.00 µs, 0 allocs"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	raw := (&figures{codecs: []codecFigure{c}}).raw()
	const line = "BenchmarkCodec/payload=ping/codec=json/op=marshal "
	if got := strings.Count(raw, line); got != 3 {
		t.Errorf("benchstat gets %d rounds, want 3", got)
	}
}

func TestCodecsRunInRounds(t *testing.T) {
	f := figures{}
	how := size{codecRounds: 2, benchtime: time.Nanosecond}
	if err := f.runCodecs(t.Context(), how, t.Logf); err != nil {
		t.Fatal(err)
	}
	want := len(bench.Payloads()) * (len(bench.CodecNames) + len(bench.WrappedNames)) * 2
	if len(f.codecs) != want {
		t.Errorf("got %d operations, want %d", len(f.codecs), want)
	}
	for _, c := range f.codecs {
		if len(c.rounds) != how.codecRounds {
			t.Errorf("%s of %s: got %d rounds, want %d",
				c.codec, c.payload, len(c.rounds), how.codecRounds)
		}
	}
}

func TestTheFullSetHasSeveralRounds(t *testing.T) {
	if full := sets["full"]; full.rounds < 5 || full.codecRounds < 5 {
		t.Errorf("got %d rounds and %d of codecs, want 5 and more", full.rounds, full.codecRounds)
	}
}
