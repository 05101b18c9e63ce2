package folders

import (
	"context"

	"github.com/pendingq/pendingq/skills"
)

// MaxListed is how many characters of a description a list has, so that it stays small.
const MaxListed = 1024

// Discover lists the skills below the roots, sorted by key. If several roots have a key, the first
// of them has it, even if its skill cannot be read, so that nobody gets another skill than the one
// they look at. Descriptions are cut to [MaxListed] characters.
//
// Whatever is not listed, or not in a skill's bundle, is a Warning: a folder that is skipped, too
// deep, or cannot be searched; a skill whose bundle is over the limits, whose SKILL.md is no text,
// or of which a file cannot be read; each supporting file that is left out. A skill with broken
// front matter is listed with a Warning, under its folder's name if it has no other.
//
// The error is ctx's, or one about a root: its Path is not absolute, or does not exist although it
// is not one of [DefaultRoots].
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
			warnings = append(warnings, f.warning(err)) // more would be about a skill that is not there
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
