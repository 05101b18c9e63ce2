package codec

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ErrTooLarge says that a payload is over a limit. Nothing was encoded or decoded.
var ErrTooLarge = errors.New("payload is too large")

// ZstdOptions are the options of [Zstd]. The zero value of each field is its default.
type ZstdOptions struct {
	// MinSize is the size from which an encoding is compressed, in bytes. Default: 1 KiB.
	MinSize int
	// MaxSize is the largest encoding that Marshal compresses and Unmarshal expands, in bytes; a
	// larger one is ErrTooLarge. The inner codec decodes hostile bytes within its own bounds.
	// Default: 16 MiB, as Policy.MaxPayload, which limits the compressed size.
	MaxSize int
}

const (
	defaultZstdMinSize = 1 << 10
	defaultZstdMaxSize = 16 << 20
)

// The first byte of an encoding says how the rest is written.
const (
	asItIs     = 0
	compressed = 1
)

// Zstd returns a codec that compresses what inner writes, with Zstandard. An encoding that is
// small, or does not get smaller, is stored as it is, after one byte. The codec's name is "zstd."
// and inner's. Nil options are the defaults.
//
// Another version of the compression library may write other bytes for the same payload. A store
// recognises a repeated report all the same.
func Zstd[T any](inner Codec[T], options *ZstdOptions) Codec[T] {
	c := &zstdCodec[T]{inner: inner, minSize: defaultZstdMinSize, maxSize: defaultZstdMaxSize}
	if options == nil {
		options = &ZstdOptions{}
	}
	if options.MinSize != 0 {
		c.minSize = options.MinSize
	}
	if options.MaxSize != 0 {
		c.maxSize = options.MaxSize
	}
	if c.refusal = c.check(); c.refusal == nil {
		c.decoder, c.refusal = newZstdDecoder(c.maxSize)
	}
	return c
}

type zstdCodec[T any] struct {
	inner            Codec[T]
	minSize, maxSize int
	decoder          *zstd.Decoder
	refusal          error
}

// zstdEncoder is shared, since an encoder takes megabytes. Its options have to stay as they are, so
// that equal payloads give equal bytes.
var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true)) // so that each frame declares its size
	if err != nil {
		panic(err) // only for options that are wrong
	}
	return encoder
})

func newZstdDecoder(maxSize int) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(max(maxSize, zstd.MinWindowSize))),
		zstd.WithDecodeAllCapLimit(true))
}

func (c *zstdCodec[T]) check() error {
	if err := checkInner("Zstd", c.inner); err != nil {
		return err
	}
	if c.minSize < 0 || c.maxSize < 0 {
		return fmt.Errorf("ZstdOptions: MinSize is %d and MaxSize %d, want no negative size",
			c.minSize, c.maxSize)
	}
	return nil
}

// checkInner returns why a codec cannot be wrapped.
func checkInner[T any](wrapper string, inner Codec[T]) error {
	if inner == nil {
		return fmt.Errorf("%s: the codec to wrap is nil", wrapper)
	}
	if _, sealed := inner.(ContextCodec[T]); sealed {
		return fmt.Errorf("%s cannot wrap %s, whose bytes belong to one request: wrap it in Sealed",
			wrapper, inner.Name())
	}
	return Check(inner)
}

// Name implements [Codec].
func (c *zstdCodec[T]) Name() string {
	if c.inner == nil {
		return "zstd"
	}
	return "zstd." + c.inner.Name()
}

// Check returns why the codec cannot work.
func (c *zstdCodec[T]) Check() error { return c.refusal }

// Marshal implements [Codec].
func (c *zstdCodec[T]) Marshal(v T) ([]byte, error) {
	if c.refusal != nil {
		return nil, c.refusal
	}
	encoded, err := c.inner.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(encoded) > c.maxSize {
		return nil, fmt.Errorf("%w: %d bytes, ZstdOptions.MaxSize is %d",
			ErrTooLarge, len(encoded), c.maxSize)
	}
	if len(encoded) >= c.minSize {
		out := zstdEncoder().EncodeAll(encoded, []byte{compressed})
		if len(out) <= len(encoded) {
			return out, nil
		}
	}
	return append([]byte{asItIs}, encoded...), nil
}

// Unmarshal implements [Codec].
func (c *zstdCodec[T]) Unmarshal(data []byte) (v T, err error) {
	switch {
	case c.refusal != nil:
		return v, c.refusal
	case len(data) == 0:
		return v, errors.New("no bytes to decode")
	case data[0] == asItIs:
		return c.inner.Unmarshal(data[1:])
	case data[0] != compressed:
		return v, fmt.Errorf("the first byte is %#x, neither plain nor compressed", data[0])
	}
	encoded, err := c.expand(data[1:])
	if err != nil {
		return v, err
	}
	return c.inner.Unmarshal(encoded)
}

// expand allocates no more than the size that the frame declares, which is bounded.
func (c *zstdCodec[T]) expand(frame []byte) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(frame); err != nil {
		return nil, fmt.Errorf("expand: %w", err)
	}
	switch {
	case !header.HasFCS:
		return nil, errors.New("expand: the frame does not declare its size")
	case header.FrameContentSize > uint64(c.maxSize):
		return nil, fmt.Errorf("%w: it expands to %d bytes, ZstdOptions.MaxSize is %d",
			ErrTooLarge, header.FrameContentSize, c.maxSize)
	case frameSize(header, frame) != len(frame):
		return nil, errors.New("expand: the bytes are not one frame")
	}
	encoded, err := c.decoder.DecodeAll(frame, make([]byte, 0, header.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("expand: %w", err)
	}
	return encoded, nil
}

// frameSize returns the size of the first frame, by its blocks, or more than there are bytes. The
// decoder would also read frames that follow. See RFC 8878, 3.1.1.
func frameSize(header zstd.Header, frame []byte) int {
	size := header.HeaderSize
	for last := false; !last && size+3 <= len(frame); {
		block := int(frame[size]) | int(frame[size+1])<<8 | int(frame[size+2])<<16
		last = block&1 == 1
		size += 3 + block>>3
		if repeated := block>>1&3 == 1; repeated { // of one byte
			size += 1 - block>>3
		}
	}
	if header.HasCheckSum {
		size += 4
	}
	return size
}
