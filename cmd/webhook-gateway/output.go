package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// outputOptions are the flags that say how a command prints.
type outputOptions struct {
	format string
	json   bool
}

func (o *outputOptions) flag(c *cobra.Command) {
	c.Flags().StringVarP(&o.format, "output", "o", "text", "the `format`: text, or json for one object a line")
	// It fails only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("output", completeNames("text", "json"))
}

// shortFlag adds --json.
func (o *outputOptions) shortFlag(c *cobra.Command) {
	c.Flags().BoolVar(&o.json, "json", false, "the same as -o json")
	c.MarkFlagsMutuallyExclusive("output", "json")
}

// asJSON reports whether JSON is wanted.
func (o *outputOptions) asJSON() (bool, error) {
	switch o.format {
	case "json":
		return true, nil
	case "text":
		return o.json, nil
	}
	return false, usageError{fmt.Errorf("%q is no format: choose text or json", o.format)}
}

// A color is what a terminal is told before a text (ECMA-48, SGR).
type color string

const (
	dim    color = "\x1b[2m"
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
	cyan   color = "\x1b[36m"
	reset  color = "\x1b[0m"
)

// A painter colors texts, or leaves them as they are.
type painter bool

func (p painter) paint(c color, text string) string {
	if !p || text == "" {
		return text
	}
	return string(c) + text + string(reset)
}

// answerColor is the color of a status of HTTP.
func answerColor(code int) color {
	if code >= 200 && code < 300 {
		return green
	}
	return red
}

// painter returns what colors the output of a command: on a terminal, unless NO_COLOR
// (https://no-color.org) or TERM forbid it.
func (s streams) painter() painter {
	return painter(s.terminal && lookup(s.environ, "NO_COLOR") == "" && lookup(s.environ, "TERM") != "dumb")
}

// note prints what is no result of the command.
func note(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "# "+format+"\n", args...) // a note that nobody reads ends nothing
}
