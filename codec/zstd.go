package codec

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ZstdOptions are the options of [Zstd]. The zero value of a field selects its default.
type ZstdOptions struct {
	// MinSize is the size of the smallest encoding that is compressed, in bytes. Default: 1 KiB.
	MinSize int
	// MaxSize limits the uncompressed encoding, in bytes. For a larger encoding Marshal and
	// Unmarshal return ErrTooLarge. Default: 16 MiB. At most 512 MiB, as the library that decodes
	// allows. Policy.MaxPayload limits the compressed size.
	MaxSize int
}

const (
	defaultZstdMinSize = 1 << 10
	defaultZstdMaxSize = 16 << 20
)

// The first byte of a payload says whether the rest is compressed.
const (
	uncompressed = 0
	compressed   = 1
)

// Zstd returns a codec that compresses the output of inner with Zstandard. An encoding that is
// small or does not shrink is stored uncompressed, and the first byte of a payload says which. The
// codec's name is "zstd." followed by inner's name. Nil options mean the defaults.
//
// Another version of the compression library may compress differently. A store still recognises a
// repeated report, because it compares the decoded payloads too.
func Zstd[T any](inner Codec[T], options *ZstdOptions) Codec[T] {
	if options == nil {
		options = &ZstdOptions{}
	}
	c := &zstdCodec[T]{
		inner:   inner,
		minSize: cmp.Or(options.MinSize, defaultZstdMinSize),
		maxSize: cmp.Or(options.MaxSize, defaultZstdMaxSize),
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

// zstdEncoder is shared, because an encoder uses megabytes. Its options never change, since equal
// payloads must give equal bytes.
var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithLowerEncoderMem(true),
		zstd.WithSingleSegment(true)) // so that each frame declares its size
	if err != nil {
		panic(err) // only for invalid options
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
		return fmt.Errorf("ZstdOptions: MinSize %d and MaxSize %d must not be negative",
			c.minSize, c.maxSize)
	}
	if c.maxSize > zstd.MaxWindowSize {
		return fmt.Errorf("ZstdOptions: MaxSize is %d, want at most %d", c.maxSize,
			zstd.MaxWindowSize)
	}
	return nil
}

// checkInner returns why wrapper cannot wrap inner, or nil.
func checkInner[T any](wrapper string, inner Codec[T]) error {
	if inner == nil {
		return fmt.Errorf("%s: the codec to wrap is nil", wrapper)
	}
	if _, ok := inner.(ContextCodec[T]); ok {
		return fmt.Errorf("%s cannot wrap %s: Sealed must be the outermost codec",
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

// Check returns why the codec cannot be used, or nil.
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
	return append([]byte{uncompressed}, encoded...), nil
}

// Unmarshal implements [Codec].
func (c *zstdCodec[T]) Unmarshal(data []byte) (v T, err error) {
	switch {
	case c.refusal != nil:
		return v, c.refusal
	case len(data) == 0:
		return v, errors.New("no bytes to decode")
	case data[0] == uncompressed:
		return c.inner.Unmarshal(data[1:])
	case data[0] != compressed:
		return v, fmt.Errorf("the first byte %#x is unknown", data[0])
	}
	encoded, err := c.expand(data[1:])
	if err != nil {
		return v, err
	}
	return c.inner.Unmarshal(encoded)
}

// expand decompresses a frame. It allocates at most the size that the frame declares, up to
// maxSize.
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
		return nil, errors.New("expand: the bytes are not exactly one frame")
	}
	encoded, err := c.decoder.DecodeAll(frame, make([]byte, 0, header.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("expand: %w", err)
	}
	return encoded, nil
}

// frameSize returns the size of the first frame, or more than len(frame) if it is truncated. It is
// needed because the decoder also reads further frames. See RFC 8878, 3.1.1.
func frameSize(header zstd.Header, frame []byte) int {
	size := header.HeaderSize
	for last := false; !last && size+3 <= len(frame); {
		block := int(frame[size]) | int(frame[size+1])<<8 | int(frame[size+2])<<16
		last = block&1 == 1
		size += 3
		if rle := block>>1&3 == 1; rle { // the block is one byte, repeated
			size++
		} else {
			size += block >> 3
		}
	}
	if header.HasCheckSum {
		size += 4
	}
	return size
}
