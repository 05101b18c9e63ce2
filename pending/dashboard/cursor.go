package dashboard

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// cursors seals cursors of the backend for links. A cursor may have names of hidden mailboxes or
// the address of a server. The same cursor always gets the same text: otherwise each load would
// change a live page. So the nonce is a hash of the cursor.
type cursors struct {
	key  []byte
	aead cipher.AEAD
}

// newCursors returns an error unless the key has 16, 24 or 32 bytes.
func newCursors(key []byte) (*cursors, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &cursors{bytes.Clone(key), aead}, err
}

func (c *cursors) seal(cursor string) string {
	hash := hmac.New(sha256.New, c.key)
	hash.Write([]byte(cursor))
	nonce := hash.Sum(nil)[:c.aead.NonceSize()]
	sealed := c.aead.Seal(nonce, nonce, []byte(cursor), nil)
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open returns the cursor, or "" if this text was not sealed with this key.
func (c *cursors) open(text string) string {
	sealed, _ := base64.RawURLEncoding.DecodeString(text)
	if len(sealed) < c.aead.NonceSize() {
		return ""
	}
	nonce, sealed := sealed[:c.aead.NonceSize()], sealed[c.aead.NonceSize():]
	cursor, _ := c.aead.Open(nil, nonce, sealed, nil) // nil after an error
	return string(cursor)
}
