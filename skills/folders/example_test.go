package folders_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

var releaseNotes = skills.Bundle{
	Content: "---\nname: Release notes\ndescription: Writes the notes of a release.\n---\n" +
		"List what changed.\n",
	Files: []skills.BundleFile{{Path: "templates/notes.md", Content: "# Changes\n"}},
}

// A skill is written to disk, found there, and bundled for another machine.
func Example() {
	ctx := context.Background()
	skillRoot, err := os.MkdirTemp("", "skills")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(skillRoot)
	dir := filepath.Join(skillRoot, "release-notes")
	if _, err := folders.Unpack(dir, releaseNotes); err != nil {
		log.Fatal(err)
	}

	roots := []folders.Root{{Provider: "claude", Path: skillRoot}}
	list, warnings, err := folders.Discover(ctx, roots)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range list {
		fmt.Printf("%s: %s %d files, %d warnings\n",
			s.Key, s.Description, s.FileCount, len(warnings))
	}
	bundle, _, err := folders.Bundle(ctx, roots, "release-notes")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bundle.Name, bundle.Files)
	// Output:
	// release-notes: Writes the notes of a release. 2 files, 0 warnings
	// Release notes [{templates/notes.md # Changes
	// }]
}

// A runtime reports the skills that it has found, and logs the warnings.
func ExampleDiscover() {
	roots, err := folders.DefaultRoots()
	if err != nil {
		log.Fatal(err)
	}
	found, warnings, err := folders.Discover(context.Background(), roots)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range warnings {
		log.Printf("%s: %v", w.Path, w.Err)
	}
	answer := skills.NewList()
	answer.Skills = found
}

// A file that would lie outside the new folder is left out.
func ExampleUnpack() {
	parent, err := os.MkdirTemp("", "skills")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)
	bundle := skills.Bundle{Files: []skills.BundleFile{{Path: "../.bashrc", Content: "gotcha"}}}
	left, err := folders.Unpack(filepath.Join(parent, "release-notes"), bundle)
	fmt.Println(left[0].Path, "-", left[0].Err)
	fmt.Println(err)
	// Output:
	// ../.bashrc - invalid path: it leads out of the skill
	// <nil>
}

// A key from a request is safe to pass on.
func ExampleBundle() {
	_, _, err := folders.Bundle(context.Background(), nil, "../../etc")
	fmt.Println(err)
	// Output: bundle skill "../../etc": invalid skill key: it has a . or .. segment
}
