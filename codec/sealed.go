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
	"reflect"
	"slices"
)

// Sealed returns a codec that encrypts and authenticates the output of inner. A reader of the
// storage learns only the size of a payload, and whether two versions of it are equal. A writer to
// the storage cannot forge a payload, move it to another store, mailbox or request, or use a
// question as an answer. To compress as well, wrap in this order: Sealed(Zstd(inner)). The codec's
// name is "sealed." followed by inner's name.
//
// # What stays unencrypted
//
// These are neither encrypted nor authenticated: mailboxes, ids, statuses, attempts, times, error
// texts, headers, sizes and key ids. A writer to the storage can still delete requests or change
// their status. It can also restore an earlier payload of the same request and part.
//
// Compressed sizes reveal more. An attacker who controls part of a payload and sees its size can
// guess the rest. Do not compress such payloads.
//
// If pending.AlsoReads names an unsealed codec, the store accepts unsealed payloads from any writer
// to the storage. Use it only during a migration to a sealed codec.
//
// # Key rotation
//
// Each payload stores the id of its key. Rotate keys in three steps:
//
//  1. Add the new key to every node.
//  2. Seal with the new key on every node.
//  3. Remove the old key after the longest lifetime of a request.
//
// A payload with an unknown key cannot be decoded: the error wraps [ErrUnknownKey] and names the
// key. The request can still be failed. There is no fallback to unsealed payloads.
//
// # Algorithm
//
// HKDF-SHA256 derives two keys from the keyring's key, the payload's [Context] and inner's name.
// The first key is for AES-256-GCM. The second key is for HMAC-SHA256 of the inner encoding. The
// first 12 bytes of the HMAC are the nonce.
//
// The same payload of the same request and part therefore gives the same bytes, until the key is
// rotated. So a store recognises a repeated report by its bytes, and a reader of the storage sees
// whether two versions of a payload are equal. Equal payloads of two requests give different bytes,
// since the keys differ. Nonces of one question or answer collide only by chance, after about 2^48
// different payloads.
func Sealed[T any](inner Codec[T], keys Keyring) Codec[T] {
	c := &sealedCodec[T]{inner: inner, keys: keys}
	c.refusal = c.check()
	return c
}

// Keyring returns keys for [Sealed]. Each MarshalFor and UnmarshalFor calls the Keyring, also
// concurrently, so it should answer from memory. If it returns an error, the operation fails.
//
// A key id is 1 to 64 bytes and is stored unencrypted. A key is at least 32 random bytes.
type Keyring interface {
	// SealingKey returns the current key to seal payloads of a mailbox.
	SealingKey(mailbox string) (id string, key []byte, err error)
	// OpeningKey returns the key of a mailbox with this id, or [ErrUnknownKey].
	OpeningKey(mailbox, id string) (key []byte, err error)
}

// ErrUnknownKey means that the keyring lacks the key of a payload.
var ErrUnknownKey = errors.New("unknown key")

// ErrNoKey means that a payload could not be sealed, because the [Keyring] returned an error or an
// invalid key. The payload is not at fault, so a repeat may succeed. The error wraps the Keyring's.
var ErrNoKey = errors.New("the keyring has no valid key")

// Keys is a [Keyring] with the same keys for all mailboxes. Do not change it while it is in use.
type Keys struct {
	Sealing string            // id of the key to seal with
	ByID    map[string][]byte // all keys by id, also the sealing key
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

// Check returns why the keys cannot be used, or nil.
func (k Keys) Check() error {
	for id, key := range k.ByID {
		if err := checkSealKey(id, key); err != nil {
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

// checkSealKey checks an id and a key. Its error never quotes the key.
func checkSealKey(id string, key []byte) error {
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

// Check returns why the codec cannot be used, or nil.
func (c *sealedCodec[T]) Check() error { return c.refusal }

func (c *sealedCodec[T]) check() error {
	if err := checkInner("Sealed", c.inner); err != nil {
		return err
	}
	if v := reflect.ValueOf(c.keys); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("Sealed: the keyring is nil")
	}
	return check(c.keys)
}

var errNoContext = errors.New("a sealed codec needs a Context: use MarshalFor and UnmarshalFor")

// Marshal always returns an error: use MarshalFor.
func (*sealedCodec[T]) Marshal(T) ([]byte, error) { return nil, errNoContext }

// Unmarshal always returns an error: use UnmarshalFor.
func (*sealedCodec[T]) Unmarshal([]byte) (v T, err error) { return v, errNoContext }

// Layout of a sealed payload: the version, the length of the key id, the key id, the nonce, the
// ciphertext. All bytes before the nonce are additional data of AES-GCM.
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
		return nil, fmt.Errorf("get the sealing key: %w: %w", ErrNoKey, err)
	}
	k, err := c.derive(context, id, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	header := append([]byte{sealedVersion, byte(len(id))}, id...)
	nonce := k.nonce(encoded)
	return k.aead.Seal(slices.Concat(header, nonce), nonce, encoded, header), nil
}

// UnmarshalFor implements [ContextCodec].
func (c *sealedCodec[T]) UnmarshalFor(context Context, data []byte) (v T, err error) {
	if c.refusal != nil {
		return v, c.refusal
	}
	if len(data) < 2 || data[0] != sealedVersion || len(data) < 2+int(data[1])+nonceSize {
		return v, errors.New("the payload is not sealed, or has an unknown version")
	}
	header, rest := data[:2+int(data[1])], data[2+int(data[1]):]
	id := string(header[2:])
	key, err := c.keys.OpeningKey(context.Mailbox, id)
	if err != nil {
		return v, fmt.Errorf("get key %.80q: %w", id, err)
	}
	k, err := c.derive(context, id, key)
	if err != nil {
		return v, err
	}
	encoded, err := k.aead.Open(nil, rest[:nonceSize], rest[nonceSize:], header)
	if err != nil {
		return v, errors.New("authentication failed: " +
			"the payload was changed, or is of another request")
	}
	return c.inner.Unmarshal(encoded)
}

// payloadKeys are the keys of one question or answer.
type payloadKeys struct {
	aead     cipher.AEAD
	nonceKey []byte
}

func (c *sealedCodec[T]) derive(context Context, id string, key []byte) (k payloadKeys, err error) {
	if err := checkSealKey(id, key); err != nil {
		return k, err
	}
	info := "pendingq sealed payload 1"
	for _, field := range []string{
		c.inner.Name(), context.Store, context.Mailbox, context.ID, string(context.Part)} {
		info += string(binary.BigEndian.AppendUint32(nil, uint32(len(field)))) + field
	}
	keys, err := hkdf.Key(sha256.New, key, nil, info, 64)
	if err != nil {
		return k, err
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return k, err
	}
	k.nonceKey = keys[32:]
	k.aead, err = cipher.NewGCM(block)
	return k, err
}

func (k payloadKeys) nonce(encoded []byte) []byte {
	mac := hmac.New(sha256.New, k.nonceKey)
	mac.Write(encoded)
	return mac.Sum(nil)[:nonceSize]
}
