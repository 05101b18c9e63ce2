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

// An id is the partition of its mailbox, 4 hex digits, and 26 letters and digits of base 32: 130 bits that
// are random or the hash of an idempotency key. It stands in URLs and keys as it is.
const (
	partitionLen = 4
	uniqueLen    = 26
	idLen        = partitionLen + uniqueLen
)

// Partition returns which of the 65,536 partitions a mailbox belongs to, as 4 hex digits. Everything that is
// stored for a mailbox lies in its partition, so an engine that spreads its keys by it can serve one mailbox
// in one place, and has no use for the mailbox's own, arbitrary, characters.
func Partition(mailbox string) string {
	sum := sha256.Sum256([]byte(mailbox))
	return hex.EncodeToString(sum[:partitionLen/2])
}

// PartitionOf returns the partition that an id carries. The id is one that [CheckID] accepts.
func PartitionOf(id string) string { return id[:partitionLen] }

// NewID makes an id for a request to mailbox, with 130 random bits of crypto/rand.
func NewID(mailbox string) string { return Partition(mailbox) + rand.Text() }

// DeriveID makes the id that an idempotency key stands for. The same store, mailbox and key always give the
// same id, and any other three another one.
func DeriveID(store, mailbox, key string) string {
	return Partition(mailbox) + Digest(store, mailbox, key)
}

// Digest returns 26 letters and digits, 130 bits, that stand for these parts in this order: the SHA-256 of
// the parts with their lengths.
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

// CheckID returns an error that says what is wrong with an id that neither [NewID] nor [DeriveID] can have
// made, and nil for any other.
func CheckID(id string) error {
	if len(id) != idLen {
		return fmt.Errorf("an id has %d characters, this one %d", idLen, len(id))
	}
	if i := strings.IndexFunc(PartitionOf(id), notIn("0123456789abcdef")); i >= 0 {
		return fmt.Errorf("an id cannot have %q at position %d", id[i], i)
	}
	if i := strings.IndexFunc(id[partitionLen:], notIn("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")); i >= 0 {
		return fmt.Errorf("an id cannot have %q at position %d", id[partitionLen+i], partitionLen+i)
	}
	return nil
}

func notIn(alphabet string) func(rune) bool {
	return func(r rune) bool { return !strings.ContainsRune(alphabet, r) }
}
