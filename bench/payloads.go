package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

// Payload is a payload to encode, of a type that it knows.
type Payload struct {
	Name string
	Size func(codecName string) int               // encoded bytes
	Run  func(b *testing.B, codecName, op string) // op is marshal or unmarshal
}

// CodecNames are those that are compared.
var CodecNames = []string{"json", "msgpack"}

func codecOf[T any](name string) codec.Codec[T] {
	if name == "json" {
		return codec.JSON[T]()
	}
	return codec.Msgpack[T]()
}

func payload[T any](name string, value T) Payload {
	encode := func(codecName string) []byte {
		encoded, err := codecOf[T](codecName).Marshal(value)
		if err != nil {
			panic(err) // the payloads here are known to be good
		}
		return encoded
	}
	return Payload{
		Name: name,
		Size: func(codecName string) int { return len(encode(codecName)) },
		Run: func(b *testing.B, codecName, op string) {
			c, encoded := codecOf[T](codecName), encode(codecName)
			b.SetBytes(int64(len(encoded)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if op == "marshal" {
					_, err = c.Marshal(value)
				} else {
					_, err = c.Unmarshal(encoded)
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
		payload("update", skills.Update{TargetVersion: "1.42.0", Output: strings.Repeat("downloading... done\n", 20), InitiatorID: userID}),
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
		l.Skills = append(l.Skills, skills.LocalSkill{Key: fmt.Sprintf("team/skill-%d", i), Name: fmt.Sprintf("Skill number %d", i),
			Description: "Does what its name says, and explains what it did in two sentences that a person can read.",
			SourcePath:  fmt.Sprintf("~/.claude/skills/team/skill-%d", i), Provider: "claude", Root: "provider", FileCount: i % 20})
	}
	return l
}

func models(n int) skills.ModelList {
	l := skills.NewModelList()
	for i := range n {
		l.Models = append(l.Models, skills.Model{ID: fmt.Sprintf("vendor/model-%d-large", i), Label: fmt.Sprintf("Model %d Large", i),
			Provider: "vendor", Thinking: &skills.Thinking{DefaultLevel: "medium", SupportedLevels: []skills.ThinkingLevel{
				{Value: "low", Label: "Low"}, {Value: "medium", Label: "Medium"}, {Value: "high", Label: "High", Description: "slow"}}}})
	}
	return l
}

// imported is a bundle of about so many bytes, in files of 16 KiB of Markdown.
func imported(size int) skills.Import {
	const fileSize = 16 << 10
	text := strings.Repeat("- Say \"what\" to do & why; see <docs/index.md> for more.\n", fileSize/56+1)[:fileSize]
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &skills.Skill{ID: userID, WorkspaceID: userID, Name: "Release notes", Description: "Turns commits into notes.",
		Content: text[:fileSize/4], CreatedBy: userID, CreatedAt: now, UpdatedAt: now}
	for i := 0; (i+1)*fileSize <= size; i++ {
		s.Files = append(s.Files, skills.SkillFile{ID: userID, Path: fmt.Sprintf("references/part-%d.md", i), Content: text})
	}
	return skills.Import{SkillKey: "team/release-notes", CreatorID: userID, Skill: s}
}
