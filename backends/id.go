package backends

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// An id is the partition of its mailbox in 4 hex digits, followed by 26 base-32 characters. The 26
// characters are 130 bits: random bits, or the hash of an idempotency key. An id needs no escaping
// in URLs and keys.
const (
	partitionLen = 4
	uniqueLen    = 26
	idLen        = partitionLen + uniqueLen

	hexDigits    = "0123456789abcdef"
	base32Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// Partition returns the partition of a mailbox, one of 65,536, as 4 hex digits. All data of a
// mailbox belongs to its partition. An engine that distributes its keys by partition keeps each
// mailbox in one place, and need not escape the mailbox's name.
func Partition(mailbox string) string {
	sum := sha256.Sum256([]byte(mailbox))
	return hex.EncodeToString(sum[:partitionLen/2])
}

// PartitionOf returns the partition in an id. [CheckID] must accept the id.
func PartitionOf(id string) string { return id[:partitionLen] }

// NewID returns a new id for a request to the mailbox, with 130 random bits of crypto/rand.
func NewID(mailbox string) string { return Partition(mailbox) + rand.Text() }

// DeriveID returns the id for an idempotency key. The same store, mailbox and key always give the
// same id. Any difference gives another id.
func DeriveID(store, mailbox, key string) string {
	return Partition(mailbox) + Digest(store, mailbox, key)
}

// Digest returns 130 bits of a SHA-256 as 26 base-32 characters. It hashes the length of each part
// and then the part, in their order. So no two lists of parts hash the same bytes.
func Digest(parts ...string) string {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return base32.StdEncoding.EncodeToString(h.Sum(nil))[:uniqueLen]
}

// CheckID returns an error if neither [NewID] nor [DeriveID] can have returned the id. The error
// names the first mistake in the id.
func CheckID(id string) error {
	if len(id) != idLen {
		return fmt.Errorf("an id has %d characters, this one %d", idLen, len(id))
	}
	if i := strings.IndexFunc(PartitionOf(id), notIn(hexDigits)); i >= 0 {
		return fmt.Errorf("an id cannot have %q at position %d", id[i], i)
	}
	if i := strings.IndexFunc(id[partitionLen:], notIn(base32Digits)); i >= 0 {
		return fmt.Errorf("an id cannot have %q at position %d", id[partitionLen+i], partitionLen+i)
	}
	return nil
}

func notIn(alphabet string) func(rune) bool {
	return func(r rune) bool { return !strings.ContainsRune(alphabet, r) }
}
