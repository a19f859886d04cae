package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// referenceFolder is where `make generate` has the reference of the commands written.
var referenceFolder = flag.String("reference", "", "write the reference of the commands to this folder")

const referenceHead = `<!-- Generated from the commands by make generate. Do not edit. -->
# Commands

For everybody who types them. This is what ` + "`webhook-gateway COMMAND --help`" + ` prints; [what an exit code means](#webhook-gateway) holds
for every command.

`

// docs/reference/commands.md is what the commands say of themselves.
func TestCommandReference(t *testing.T) {
	const name = "commands.md"
	page := commandReference(t)
	if *referenceFolder != "" {
		if err := os.WriteFile(filepath.Join(*referenceFolder, name), page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(read(t, "../../docs/reference/"+name), page) {
		t.Errorf("docs/reference/%s is not what the commands say: run make generate", name)
	}
}

func commandReference(t *testing.T) []byte {
	t.Helper()
	var page bytes.Buffer
	page.WriteString(referenceHead)
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		c.DisableAutoGenTag = true
		c.Long = fenced(c.Long)
		if err := doc.GenMarkdownCustom(c, &page, anchor); err != nil {
			t.Fatal(err)
		}
		for _, child := range c.Commands() {
			if child.IsAvailableCommand() && child.Name() != "help" {
				add(child)
			}
		}
	}
	add(newRoot(streams{}))
	return append(bytes.TrimSpace(page.Bytes()), '\n')
}

// anchor is where a command stands in the page, of the name of a page of its own.
func anchor(page string) string {
	return "#" + strings.ReplaceAll(strings.TrimSuffix(page, ".md"), "_", "-")
}

// indented are lines that are laid out.
var indented = regexp.MustCompile(`(?m)(^(  |\t).*\n?)+`)

// fenced returns a text in which what is laid out stays so in Markdown.
func fenced(text string) string {
	return indented.ReplaceAllStringFunc(text, func(lines string) string {
		return "```\n" + strings.TrimSuffix(lines, "\n") + "\n```\n"
	})
}
