package folders

import (
	"context"

	"github.com/pendingq/pendingq/skills"
)

// Discover lists the skills below the roots, sorted by key. Where several roots have a key, the first of them
// has it, even if its skill cannot be read, so that nobody gets another skill than the one they look at.
//
// What cannot be listed is a Warning instead: a root or folder that cannot be searched, a skill whose bundle is
// over the limits, whose SKILL.md is no text, or of which a file cannot be read. A skill with broken front
// matter is listed with a Warning, under its folder's name where it has none. A root that does not exist has
// no skills. The error is ctx's, or that of a root whose Path is not absolute.
func Discover(ctx context.Context, roots []Root) ([]skills.LocalSkill, []Warning, error) {
	found, warnings, err := search(ctx, roots)
	if err != nil {
		return nil, nil, err
	}
	var list []skills.LocalSkill
	for _, f := range found {
		b, more, err := readBundle(ctx, f)
		warnings = append(warnings, more...)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			warnings = append(warnings, f.warning(err))
			continue
		}
		list = append(list, describe(f, b))
	}
	return list, warnings, nil
}

func describe(f folder, b skills.Bundle) skills.LocalSkill {
	return skills.LocalSkill{
		Key: f.key, Name: b.Name, Description: b.Description, SourcePath: b.SourcePath,
		Provider: b.Provider, Root: f.root.kind(), FileCount: 1 + len(b.Files),
	}
}
