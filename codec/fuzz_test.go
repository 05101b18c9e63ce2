package codec_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

func FuzzJSON(f *testing.F)    { fuzz(f, codec.JSON[skills.Import](), codec.JSON[unusual]()) }
func FuzzMsgpack(f *testing.F) { fuzz(f, codec.Msgpack[skills.Import](), codec.Msgpack[unusual]()) }

// fuzz decodes any bytes. A decoded value must make the round trip, always with the same bytes.
func fuzz(f *testing.F, imports codec.Codec[skills.Import], others codec.Codec[unusual]) {
	seed, err := imports.Marshal(fullImport)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	seed, err = others.Marshal(unusual{Ints: map[int8]string{1: "a", 2: "b"}, Secret: "s"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecoded(t, imports, data)
		checkDecoded(t, others, data)
	})
}

func checkDecoded[T any](t *testing.T, c codec.Codec[T], data []byte) {
	t.Helper()
	v, err := c.Unmarshal(data)
	if err != nil {
		return
	}
	encoded, err := c.Marshal(v)
	if err != nil {
		return // for example, a decoded string is not UTF-8
	}
	again, err := c.Unmarshal(encoded)
	if err != nil {
		t.Fatalf("%q, written by us, is not read: %v", encoded, err)
	}
	if diff := cmp.Diff(v, again, same); diff != "" {
		t.Fatalf("a value came back changed (-want +got):\n%s", diff)
	}
	if repeated, _ := c.Marshal(again); string(repeated) != string(encoded) {
		t.Fatalf("one value was written as %q and as %q", encoded, repeated)
	}
}

// FuzzZstd expands any bytes: see fuzz.
func FuzzZstd(f *testing.F) {
	small := &codec.ZstdOptions{MinSize: 1, MaxSize: 1 << 20}
	imports := codec.Zstd(codec.Msgpack[skills.Import](), small)
	fuzz(f, imports, codec.Zstd(codec.JSON[unusual](), small))
}

// FuzzSealed opens any bytes in any context. Only the right bytes in the right context open.
func FuzzSealed(f *testing.F) {
	c := sealed(codec.JSON[string](), testKeys)
	encoded, err := c.MarshalFor(here, "reboot")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded, here.Store, here.Mailbox, here.ID, string(here.Part))
	for _, other := range elsewhere() {
		f.Add(encoded, other.Store, other.Mailbox, other.ID, string(other.Part))
	}
	f.Fuzz(func(t *testing.T, data []byte, store, mailbox, id, part string) {
		context := codec.Context{Store: store, Mailbox: mailbox, ID: id, Part: codec.Part(part)}
		got, err := c.UnmarshalFor(context, data)
		belongs := context == here && bytes.Equal(data, encoded)
		if belongs != (err == nil) || belongs && got != "reboot" {
			t.Errorf("%+v: opened %q as %q (%v)", context, data, got, err)
		}
		again, err := c.MarshalFor(context, "reboot")
		if err != nil || context != here && bytes.Equal(again, encoded) {
			t.Errorf("%+v: sealed as %q (%v)", context, again, err)
		}
	})
}
