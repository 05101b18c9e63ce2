package codec_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

var (
	testKeys = oneKey("2026-11", bytes.Repeat([]byte("k"), 32))
	here     = codec.Context{Store: "update", Mailbox: "device-7", ID: "id-1", Part: codec.Question}
)

func oneKey(id string, key []byte) codec.Keys {
	return codec.Keys{Sealing: id, ByID: map[string][]byte{id: key}}
}

func sealed[T any](inner codec.Codec[T], keys codec.Keyring) codec.ContextCodec[T] {
	return codec.Sealed(inner, keys).(codec.ContextCodec[T])
}

func TestSealedCarriesPayloadsAndHidesThem(t *testing.T) {
	for _, inner := range []codec.Codec[skills.Import]{codec.JSON[skills.Import](),
		codec.Msgpack[skills.Import](), codec.Zstd(codec.Msgpack[skills.Import](), nil)} {
		c := sealed(inner, testKeys)
		encoded, err := c.MarshalFor(here, fullImport)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(encoded, []byte(fullImport.SkillKey)) {
			t.Errorf("%s: the payload can be read", c.Name())
		}
		got, err := c.UnmarshalFor(here, encoded)
		if diff := cmp.Diff(fullImport, got, same); err != nil || diff != "" {
			t.Errorf("%s: %v, (-want +got):\n%s", c.Name(), err, diff)
		}
		if again, _ := c.MarshalFor(here, fullImport); !bytes.Equal(again, encoded) {
			t.Errorf("%s: a retry for the same request gave other bytes", c.Name())
		}
	}
}

// elsewhere are contexts that differ from here in one field.
func elsewhere() []codec.Context {
	store, mailbox, id, part, shifted := here, here, here, here, here
	store.Store, mailbox.Mailbox, id.ID, part.Part = "ping", "device-8", "id-2", codec.Answer
	shifted.Store, shifted.Mailbox = here.Store+here.Mailbox[:1], here.Mailbox[1:]
	return []codec.Context{store, mailbox, id, part, shifted}
}

func TestASealedPayloadOpensOnlyWhereItBelongs(t *testing.T) {
	c := sealed(codec.JSON[string](), testKeys)
	encoded, _ := c.MarshalFor(here, "reboot")
	for _, other := range elsewhere() {
		if got, err := c.UnmarshalFor(other, encoded); err == nil {
			t.Errorf("%+v was opened as %+v: %q", here, other, got)
		}
		there, err := c.MarshalFor(other, "reboot")
		if err != nil || bytes.Equal(there[2+7+12:], encoded[2+7+12:]) {
			t.Errorf("%+v and %+v have the same bytes (%v)", here, other, err)
		}
	}
	if _, err := sealed(codec.Msgpack[string](), testKeys).UnmarshalFor(here, encoded); err == nil {
		t.Error("another inner codec opened the payload")
	}
	otherKey := oneKey("2026-11", bytes.Repeat([]byte("x"), 32))
	if _, err := sealed(codec.JSON[string](), otherKey).UnmarshalFor(here, encoded); err == nil {
		t.Error("another key with the same id opened the payload")
	}
}

func TestAChangedByteIsNeverAnotherValue(t *testing.T) {
	c := sealed(codec.Zstd(codec.Msgpack[skills.Import](), nil), testKeys)
	encoded, err := c.MarshalFor(here, fullImport)
	if err != nil {
		t.Fatal(err)
	}
	for i := range encoded {
		for bit := range 8 {
			changed := bytes.Clone(encoded)
			changed[i] ^= 1 << bit
			if _, err := c.UnmarshalFor(here, changed); err == nil {
				t.Errorf("byte %d, bit %d was changed, and the payload opened", i, bit)
			}
		}
		if _, err := c.UnmarshalFor(here, encoded[:i]); err == nil {
			t.Errorf("the first %d of %d bytes opened", i, len(encoded))
		}
	}
	if _, err := c.UnmarshalFor(here, append(encoded, 0)); err == nil {
		t.Error("the payload opened with a byte after it")
	}
}

func TestAnUnknownKeyIsNamed(t *testing.T) {
	encoded, _ := sealed(codec.JSON[string](), testKeys).MarshalFor(here, "reboot")
	newer := oneKey("2027-01", randomBytes(32))
	_, err := sealed(codec.JSON[string](), newer).UnmarshalFor(here, encoded)
	if !errors.Is(err, codec.ErrUnknownKey) || !strings.Contains(err.Error(), `"2026-11"`) {
		t.Errorf("got %v, want ErrUnknownKey with the key id 2026-11", err)
	}
}

// perMailbox maps a mailbox to its key.
type perMailbox map[string]string

var errNoMailbox = errors.New("the key service does not know this mailbox")

func (k perMailbox) SealingKey(mailbox string) (string, []byte, error) {
	key, err := k.OpeningKey(mailbox, "1")
	return "1", key, err
}

func (k perMailbox) OpeningKey(mailbox, _ string) ([]byte, error) {
	if key, known := k[mailbox]; known {
		return []byte(key), nil
	}
	return nil, errNoMailbox
}

func TestAKeyringMayHaveAKeyForEachMailbox(t *testing.T) {
	keys := perMailbox{"device-7": strings.Repeat("7", 32), "short": "hunter2"}
	c := sealed(codec.JSON[string](), keys)
	encoded, err := c.MarshalFor(here, "reboot")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.UnmarshalFor(here, encoded); err != nil || got != "reboot" {
		t.Errorf("got %q (%v)", got, err)
	}
	there := here
	there.Mailbox = "device-8"
	_, err = c.MarshalFor(there, "reboot")
	if !errors.Is(err, codec.ErrNoKey) || !errors.Is(err, errNoMailbox) {
		t.Errorf("seal: got %v, want ErrNoKey and the keyring's error", err)
	}
	if _, err := c.UnmarshalFor(there, encoded); !errors.Is(err, errNoMailbox) {
		t.Errorf("open: got %v, want the keyring's error", err)
	}
	there.Mailbox = "short"
	_, err = c.MarshalFor(there, "reboot")
	if !errors.Is(err, codec.ErrNoKey) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a short key: got %v, want an ErrNoKey that does not quote it", err)
	}
}

func TestInvalidSealedCodecsAreRefused(t *testing.T) {
	key := randomBytes(32)
	for what, c := range map[string]codec.Codec[int]{
		"no inner codec":       codec.Sealed[int](nil, testKeys),
		"no keyring":           codec.Sealed(codec.JSON[int](), nil),
		"a nil keyring":        codec.Sealed(codec.JSON[int](), (*codec.Keys)(nil)),
		"no keys":              codec.Sealed(codec.JSON[int](), codec.Keys{}),
		"an unknown key":       codec.Sealed(codec.JSON[int](), codec.Keys{Sealing: "b"}),
		"a short key":          codec.Sealed(codec.JSON[int](), oneKey("a", key[:31])),
		"a key without an id":  codec.Sealed(codec.JSON[int](), oneKey("", key)),
		"Sealed around Sealed": codec.Sealed(codec.Sealed(codec.JSON[int](), testKeys), testKeys),
	} {
		if codec.Check(c) == nil {
			t.Errorf("%s passed", what)
		}
		bound := c.(codec.ContextCodec[int])
		if _, err := bound.MarshalFor(here, 1); err == nil {
			t.Errorf("%s sealed a payload", what)
		}
		if _, err := bound.UnmarshalFor(here, nil); err == nil {
			t.Errorf("%s opened a payload", what)
		}
	}
	if err := codec.Check(codec.Sealed(codec.JSON[any](), testKeys)); err == nil {
		t.Error("a type that the inner codec refuses passed")
	}
	c := codec.Sealed(codec.JSON[int](), testKeys)
	if _, err := c.Marshal(1); err == nil {
		t.Error("Marshal sealed a payload without a context")
	}
	if _, err := c.Unmarshal(nil); err == nil {
		t.Error("Unmarshal opened a payload without a context")
	}
}

// raw stores bytes unchanged. It has another codec's name, so that codec opens its payloads.
type raw struct{ name string }

func (r raw) Name() string                        { return r.name }
func (raw) Marshal(data []byte) ([]byte, error)   { return data, nil }
func (raw) Unmarshal(data []byte) ([]byte, error) { return data, nil }

func TestABombInSealedFailsInLittleMemory(t *testing.T) {
	inner := zstdOf(nil)
	for name, data := range bombs() {
		encoded, err := sealed[[]byte](raw{inner.Name()}, testKeys).MarshalFor(here, data)
		if err != nil {
			t.Fatal(err)
		}
		checkFailsCheaply(t, name, bombBudget, func() error {
			_, err := sealed(inner, testKeys).UnmarshalFor(here, encoded)
			return err
		})
	}
}

func ExampleSealed() {
	keys := codec.Keys{
		Sealing: "2026-11",
		ByID:    map[string][]byte{"2026-11": []byte("32 random bytes, from a secret..")},
	}
	c := codec.Sealed(codec.Zstd(codec.JSON[Job](), nil), keys)
	fmt.Println(c.Name(), codec.Check(c))
	// Output: sealed.zstd.json <nil>
}
