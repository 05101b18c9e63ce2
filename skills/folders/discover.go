package folders

import (
	"context"

	"github.com/pendingq/pendingq/skills"
)

// MaxListed is the most characters that a description has in a list.
const MaxListed = 1024

// Discover lists the skills below the roots, sorted by key. If several roots have a skill with the
// same key, the first root's skill wins, even if it cannot be read, since a provider would load
// that skill. Descriptions are cut to [MaxListed] characters.
//
// There is a Warning for each folder that is skipped, lies too deep or cannot be searched, and for
// each supporting file that is left out. There is also one for each skill that is not listed: an
// earlier root has another skill with its key, its bundle is over the limits, its SKILL.md is not
// text, or one of its files cannot be read. A skill with broken front matter is listed, and has a
// Warning. Without a name in the front matter it has its folder's name.
//
// The error is ctx's, or about a root: its Path is not absolute, or does not exist. A root of
// [DefaultRoots] need not exist.
func Discover(ctx context.Context, roots []Root) ([]skills.LocalSkill, []Warning, error) {
	found, warnings, err := search(ctx, roots)
	if err != nil {
		return nil, nil, err
	}
	var list []skills.LocalSkill
	for _, f := range found {
		b, more, err := readBundle(ctx, f)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			warnings = append(warnings, f.warning(err)) // it stands for all files of the skill
			continue
		}
		warnings = append(warnings, more...)
		list = append(list, describe(f, b))
	}
	return list, warnings, nil
}

func describe(f folder, b skills.Bundle) skills.LocalSkill {
	return skills.LocalSkill{
		Key: f.key, Name: b.Name, Description: listed(b.Description), SourcePath: b.SourcePath,
		Provider: b.Provider, Root: f.root.kind(), FileCount: 1 + len(b.Files),
	}
}

// listed cuts a description for a list.
func listed(description string) string {
	n := 0
	for i := range description {
		if n++; n > MaxListed {
			return description[:i]
		}
	}
	return description
}
