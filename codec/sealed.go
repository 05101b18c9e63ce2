package codec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealed returns a codec that encrypts and authenticates what inner writes. Whoever reads the
// storage learns nothing of a payload but its size. Whoever writes to it can neither make up a
// payload nor move one to another store, mailbox or request, nor take a question for an answer. To
// compress as well, seal the compressed bytes: Sealed(Zstd(inner)). The codec's name is "sealed."
// and inner's.
//
// # What stays in the clear
//
// Mailboxes, ids, statuses, attempts, times, error texts, headers, sizes and ids of keys stay in
// the clear, and nothing authenticates them. Whoever writes to the storage can still delete
// requests, change their status, or put back what was stored for the same request before.
//
// Sizes tell more if payloads are compressed. Where somebody else writes a part of a payload and
// can watch its size, do not compress it: he can guess the rest.
//
// A store that also reads a codec that is not sealed takes plain text from anyone who writes to the
// storage. So let pending.AlsoReads name such a codec only while a store is being changed to a
// sealed one.
//
// # Change of keys
//
// Each payload names the key that sealed it. To change keys, first let every node know the new key,
// then let every node seal with it, and after the longest life of a request remove the old one. A
// payload whose key is unknown cannot be decoded, and the error names the key; its request can
// still be failed. There is no fallback to plain text.
//
// # How
//
// HKDF-SHA256 derives two keys from the keyring's key and the payload's [Context]: one for
// AES-256-GCM and one for HMAC-SHA256 of the plain text, whose first 12 bytes are the nonce. So the
// same payload of the same request always gives the same bytes, which is how a store recognises a
// repeated report. It tells a reader of the storage only that such a report was repeated. The keys
// belong to one question or answer, so equal payloads of two requests differ, and two different
// payloads share a key and a nonce only by chance, after about 2^48 answers to one request.
func Sealed[T any](inner Codec[T], keys Keyring) Codec[T] {
	c := &sealedCodec[T]{inner: inner, keys: keys}
	c.refusal = c.check()
	return c
}

// Keyring has the keys of [Sealed], by id. It is asked at each Marshal and Unmarshal, concurrently,
// so it should answer from memory. An error of it fails the operation.
//
// An id is 1 to 64 bytes and is stored in the clear. A key is at least 32 random bytes.
type Keyring interface {
	// SealingKey returns the key that seals what is written for a mailbox now.
	SealingKey(mailbox string) (id string, key []byte, err error)
	// OpeningKey returns the key with this id for a mailbox, or [ErrUnknownKey].
	OpeningKey(mailbox, id string) (key []byte, err error)
}

// ErrUnknownKey says that a keyring does not know the key that sealed a payload.
var ErrUnknownKey = errors.New("unknown key")

// Keys is a [Keyring] with the same keys for all mailboxes. Do not change it while it is in use.
type Keys struct {
	Sealing string            // id of the key that seals
	ByID    map[string][]byte // all keys that open, among them the one that seals
}

// SealingKey implements [Keyring].
func (k Keys) SealingKey(mailbox string) (id string, key []byte, err error) {
	key, err = k.OpeningKey(mailbox, k.Sealing)
	return k.Sealing, key, err
}

// OpeningKey implements [Keyring].
func (k Keys) OpeningKey(_, id string) (key []byte, err error) {
	key, known := k.ByID[id]
	if !known {
		return nil, ErrUnknownKey
	}
	return key, nil
}

// Check returns why the keys cannot be used.
func (k Keys) Check() error {
	for id, key := range k.ByID {
		if err := checkKey(id, key); err != nil {
			return err
		}
	}
	if _, _, err := k.SealingKey(""); err != nil {
		return fmt.Errorf("key %q: %w", k.Sealing, err)
	}
	return nil
}

const (
	minKey   = 32 // bytes
	maxKeyID = 64 // bytes
)

// checkKey never quotes the key.
func checkKey(id string, key []byte) error {
	switch {
	case id == "" || len(id) > maxKeyID:
		return fmt.Errorf("the key id %.80q has %d bytes, want 1 to %d", id, len(id), maxKeyID)
	case len(key) < minKey:
		return fmt.Errorf("key %q has %d bytes, want at least %d", id, len(key), minKey)
	}
	return nil
}

type sealedCodec[T any] struct {
	inner   Codec[T]
	keys    Keyring
	refusal error
}

// Name implements [Codec].
func (c *sealedCodec[T]) Name() string {
	if c.inner == nil {
		return "sealed"
	}
	return "sealed." + c.inner.Name()
}

// Check returns why the codec cannot work.
func (c *sealedCodec[T]) Check() error { return c.refusal }

func (c *sealedCodec[T]) check() error {
	if err := checkInner("Sealed", c.inner); err != nil {
		return err
	}
	if c.keys == nil {
		return errors.New("Sealed: the keyring is nil")
	}
	if checker, ok := c.keys.(interface{ Check() error }); ok {
		return checker.Check()
	}
	return nil
}

var errNoContext = errors.New("a sealed codec needs a Context: use MarshalFor and UnmarshalFor")

// Marshal returns an error: see [ContextCodec].
func (*sealedCodec[T]) Marshal(T) ([]byte, error) { return nil, errNoContext }

// Unmarshal returns an error: see [ContextCodec].
func (*sealedCodec[T]) Unmarshal([]byte) (v T, err error) { return v, errNoContext }

// A sealed payload is: sealedVersion, the length of the key's id, the id, a nonce, and what AES-GCM
// makes of the inner encoding, with all that comes before the nonce as additional data.
const (
	sealedVersion = 1
	nonceSize     = 12
)

// MarshalFor implements [ContextCodec].
func (c *sealedCodec[T]) MarshalFor(context Context, v T) ([]byte, error) {
	if c.refusal != nil {
		return nil, c.refusal
	}
	encoded, err := c.inner.Marshal(v)
	if err != nil {
		return nil, err
	}
	id, key, err := c.keys.SealingKey(context.Mailbox)
	if err != nil {
		return nil, fmt.Errorf("the keyring has no key to seal with: %w", err)
	}
	s, err := c.sealer(context, id, key)
	if err != nil {
		return nil, err
	}
	header := append([]byte{sealedVersion, byte(len(id))}, id...)
	nonce := s.nonce(encoded)
	out := make([]byte, 0, len(header)+nonceSize+len(encoded)+s.aead.Overhead())
	return s.aead.Seal(append(append(out, header...), nonce...), nonce, encoded, header), nil
}

// UnmarshalFor implements [ContextCodec].
func (c *sealedCodec[T]) UnmarshalFor(context Context, data []byte) (v T, err error) {
	if c.refusal != nil {
		return v, c.refusal
	}
	if len(data) < 2 || data[0] != sealedVersion || len(data) < 2+int(data[1])+nonceSize {
		return v, errors.New("it is not a sealed payload of this version")
	}
	header, rest := data[:2+int(data[1])], data[2+int(data[1]):]
	id := string(header[2:])
	key, err := c.keys.OpeningKey(context.Mailbox, id)
	if err != nil {
		return v, fmt.Errorf("it was sealed with key %.80q: %w", id, err)
	}
	s, err := c.sealer(context, id, key)
	if err != nil {
		return v, err
	}
	encoded, err := s.aead.Open(nil, rest[:nonceSize], rest[nonceSize:], header)
	if err != nil {
		return v, errors.New("it was not sealed for this request, or was changed since")
	}
	return c.inner.Unmarshal(encoded)
}

// sealer seals one question or answer with one key.
type sealer struct {
	aead     cipher.AEAD
	nonceKey []byte
}

func (c *sealedCodec[T]) sealer(context Context, id string, key []byte) (s sealer, err error) {
	if err := checkKey(id, key); err != nil {
		return s, err
	}
	info := "pendingq sealed payload 1"
	bound := []string{
		c.inner.Name(), context.Store, context.Mailbox, context.ID, string(context.Part)}
	for _, part := range bound {
		info += string(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) + part
	}
	keys, err := hkdf.Key(sha256.New, key, nil, info, 64)
	if err != nil {
		return s, err
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return s, err
	}
	s.aead, err = cipher.NewGCM(block)
	s.nonceKey = keys[32:]
	return s, err
}

func (s sealer) nonce(encoded []byte) []byte {
	mac := hmac.New(sha256.New, s.nonceKey)
	mac.Write(encoded)
	return mac.Sum(nil)[:nonceSize]
}
