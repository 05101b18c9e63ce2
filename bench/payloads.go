package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

// Payload is a payload to encode, of a type that it knows.
type Payload struct {
	Name string
	Size func(codecName string) int               // encoded bytes
	Run  func(b *testing.B, codecName, op string) // op is marshal or unmarshal
}

// CodecNames are the codecs that lifecycles are measured with.
var CodecNames = []string{"json", "msgpack"}

// WrappedNames are further codecs, which are measured by themselves.
var WrappedNames = []string{"zstd.msgpack", "sealed.msgpack", "sealed.zstd.msgpack"}

func codecOf[T any](name string) codec.Codec[T] {
	if inner, ok := strings.CutPrefix(name, "sealed."); ok {
		keys := codec.Keys{Sealing: "2026-11", ByID: map[string][]byte{"2026-11": []byte(userID)}}
		return codec.Sealed(codecOf[T](inner), keys)
	}
	if inner, ok := strings.CutPrefix(name, "zstd."); ok {
		return codec.Zstd(codecOf[T](inner), nil)
	}
	if name == "json" {
		return codec.JSON[T]()
	}
	return codec.Msgpack[T]()
}

// operations are a codec's two operations, for one request where the codec needs one.
func operations[T any](name string) (
	marshal func(T) ([]byte, error), unmarshal func([]byte) (T, error)) {
	c := codecOf[T](name)
	sealed, ok := c.(codec.ContextCodec[T])
	if !ok {
		return c.Marshal, c.Unmarshal
	}
	context := codec.Context{
		Store: "bench", Mailbox: userID, ID: backends.NewID(userID), Part: codec.Answer}
	return func(v T) ([]byte, error) { return sealed.MarshalFor(context, v) },
		func(data []byte) (T, error) { return sealed.UnmarshalFor(context, data) }
}

func payload[T any](name string, value T) Payload {
	encode := func(marshal func(T) ([]byte, error)) []byte {
		encoded, err := marshal(value)
		if err != nil {
			panic(err) // the payloads here are known to be good
		}
		return encoded
	}
	return Payload{
		Name: name,
		Size: func(codecName string) int {
			marshal, _ := operations[T](codecName)
			return len(encode(marshal))
		},
		Run: func(b *testing.B, codecName, op string) {
			marshal, unmarshal := operations[T](codecName)
			encoded := encode(marshal)
			b.SetBytes(int64(len(encoded)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if op == "marshal" {
					_, err = marshal(value)
				} else {
					_, err = unmarshal(encoded)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		},
	}
}

// Payloads are the five payload types at the sizes that they have in use.
func Payloads() []Payload {
	return []Payload{
		payload("ping", skills.Ping{Output: "up 12 days, load 0.42", DurationMS: 12}),
		payload("update", skills.Update{TargetVersion: "1.42.0",
			Output: strings.Repeat("downloading... done\n", 20), InitiatorID: userID}),
		payload("list-10", list(10)),
		payload("list-100", list(100)),
		payload("list-1000", list(1000)),
		payload("models-20", models(20)),
		payload("models-500", models(500)),
		payload("import-16KB", imported(16<<10)),
		payload("import-256KB", imported(256<<10)),
		payload("import-8MB", imported(8<<20)),
	}
}

const userID = "5f0c7a86-4c1c-4f57-a1f5-0d5a9c3a5a11"

func list(n int) skills.List {
	l := skills.NewList()
	for i := range n {
		l.Skills = append(l.Skills, skills.LocalSkill{
			Key:  fmt.Sprintf("team/skill-%d", i),
			Name: fmt.Sprintf("Skill number %d", i),
			Description: "Does what its name says, and explains what it did in two sentences " +
				"that a person can read.",
			SourcePath: fmt.Sprintf("~/.claude/skills/team/skill-%d", i),
			Provider:   "claude",
			Root:       "provider",
			FileCount:  i % 20,
		})
	}
	return l
}

func models(n int) skills.ModelList {
	l := skills.NewModelList()
	for i := range n {
		levels := []skills.ThinkingLevel{{Value: "low", Label: "Low"},
			{Value: "medium", Label: "Medium"}, {Value: "high", Label: "High", Description: "slow"}}
		l.Models = append(l.Models, skills.Model{
			ID:       fmt.Sprintf("vendor/model-%d-large", i),
			Label:    fmt.Sprintf("Model %d Large", i),
			Provider: "vendor",
			Thinking: &skills.Thinking{DefaultLevel: "medium", SupportedLevels: levels},
		})
	}
	return l
}

// imported is a bundle of about so many bytes, in files of 16 KiB of Markdown.
func imported(size int) skills.Import {
	const fileSize = 16 << 10
	const line = "- Say \"what\" to do & why; see <docs/index.md> for more.\n"
	text := strings.Repeat(line, fileSize/len(line)+1)[:fileSize]
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &skills.Skill{ID: userID, WorkspaceID: userID, Name: "Release notes",
		Description: "Turns commits into notes.", Content: text[:fileSize/4],
		CreatedBy: userID, CreatedAt: now, UpdatedAt: now}
	for i := 0; (i+1)*fileSize <= size; i++ {
		path := fmt.Sprintf("references/part-%d.md", i)
		s.Files = append(s.Files, skills.SkillFile{ID: userID, Path: path, Content: text})
	}
	return skills.Import{SkillKey: "team/release-notes", CreatorID: userID, Skill: s}
}
