package codec_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/pendingq/pendingq/skills"
)

var (
	at            = time.Date(2026, 11, 23, 12, 30, 0, 123456789, time.UTC)
	fullOmissions = skills.Omissions{LeftOutCount: 2,
		LeftOut: []skills.Omission{{Key: "k", Path: "~/s/x.png", Reason: "not a text file"}}}
	fullImport = skills.Import{
		SkillKey:         "release-notes",
		Name:             "Notes <&>",
		Description:      "ü \u2028 \x00",
		Action:           skills.ActionOverwrite,
		TargetSkillID:    "0d5c7cbe-93a5-4c4c-a2f3-d9a3f6e7c0a1",
		SupportsConflict: true,
		CreatorID:        "user-1",
		Skill:            &fullSkill,
		Omissions:        fullOmissions,
		Conflict: &skills.Conflict{ExistingSkillID: "2", ExistingCreatedBy: "user-2",
			CanOverwrite: true},
	}
	fullSkill = skills.Skill{
		ID:          "1",
		WorkspaceID: "w",
		Name:        "n",
		Description: "d",
		Content:     "# c\n",
		Config:      json.RawMessage(`{"a":[1,2.5e300,null,"<b>"]}`),
		CreatedBy:   "user-1",
		CreatedAt:   at,
		UpdatedAt:   at,
		Files: []skills.SkillFile{{ID: "f", SkillID: "1", Path: "a/b.md", Content: "x\ufffdy",
			CreatedAt: at, UpdatedAt: at}},
	}
	fullList = skills.List{
		Skills: []skills.LocalSkill{{Key: "k", Name: "n", Description: "d", SourcePath: "~/s",
			Provider: "claude", Root: "universal", Plugin: "p", CanDisable: true, FileCount: 3}},
		Supported: true,
		MCPServers: []skills.MCPServer{
			{Name: "m", Transport: "stdio", Source: "s", Enabled: true}},
		MCPSupported: true,
		Omissions:    fullOmissions,
	}
	fullModels = skills.ModelList{
		Supported: true,
		Cached:    true,
		CachedAt:  &at,
		Fallback:  true,
		Models: []skills.Model{{ID: "m", Label: "M", Provider: "p", Default: true,
			Thinking: &skills.Thinking{DefaultLevel: "low", SupportedLevels: []skills.ThinkingLevel{
				{Value: "low", Label: "Low", Description: "d"}}},
			ServiceTiers: []skills.ServiceTier{{ID: "t", Name: "T", Description: "d"}}}},
	}
)

// A zero field would prove nothing about its encoding.
func TestTheFullPayloadsHaveNoZeroField(t *testing.T) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is zero", path)
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, v.Elem())
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct {
				walk(path+"[]", v.Index(0))
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	for _, payload := range []any{fullImport, fullList, fullModels} {
		walk(reflect.TypeOf(payload).Name(), reflect.ValueOf(payload))
	}
}

type (
	base  struct{ A, B string }
	level string
	kids  struct {
		Name string
		Kids []kids
		Next *kids
	}
	unusual struct {
		Base
		Ints    map[int8]string
		Strings map[string][]map[string]int
		Levels  map[level]*level
		Bytes   []byte
		Array   [3]uint16
		Hash    [4]byte
		Floats  []float32
		Big     *big.Int
		When    map[string]time.Time
		Since   time.Duration
		Max     uint64
		Min     int64
		Rune    rune
		Bool    *bool
		Quoted  int    `json:",string"`
		Secret  string `json:"-"`
		Tagged  string `json:"t,omitempty" msgpack:"u,omitempty"`
	}
)

// Base is exported, because an embedded struct must be.
type Base struct{ A, B string }

type (
	nested struct {
		List []struct {
			Hidden string `json:"-"`
		}
	}
	hiddenEverywhere struct {
		In struct {
			X string `msgpack:"-"`
		}
	}
	sameName struct {
		A string
		Base
	}
	forgetful struct{ Kept, Lost string }
	oneWay    struct{ X string }
)

func (f forgetful) MarshalJSON() ([]byte, error)     { return json.Marshal(f.Kept) }
func (f *forgetful) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &f.Kept) }
func (oneWay) MarshalText() ([]byte, error)          { return nil, nil }
