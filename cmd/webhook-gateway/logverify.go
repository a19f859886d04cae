package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newLogVerifyCommand(std streams) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "verify [folder]",
		Short: "Read all of a stopped store or a backup, and say what is damaged",
		Long: `verify reads all of a store or of a backup folder: the checksums of all blocks and of a
backup's files, the order and density of the events, the event ids that are
remembered, the state of subscriptions, and whether events are there up to where
they were acknowledged. It changes nothing.

The folder is that of the configuration if none is given. No gateway may have it
open: of a running one make a backup, and verify that.

It ends with 1 if something is wrong, and names it.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: firstArg(completeFolders),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := storeFolder(args, path, std.environ)
			if err != nil {
				return err
			}
			bar := newBar(std.err)
			start := time.Now()
			report, err := server.VerifyStore(cmd.Context(), folder, bar.show)
			bar.clear()
			if err != nil {
				return err
			}
			if _, err := io.WriteString(std.out, describeReport(report, time.Since(start))); err != nil {
				return fmt.Errorf("print the report: %w", err)
			}
			if !report.OK() {
				return errors.New("something is wrong with the event log: see above, and docs/operations.md on damage")
			}
			return nil
		},
	}
	configFlag(c, &path)
	return c
}

// completeFolders offers folders.
func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// storeFolder returns the folder that an argument names, or the configuration.
func storeFolder(args []string, config string, environ []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	if config == "" && lookup(environ, server.EnvConfig) == "" {
		c := localConfig()
		if err := c.Override("", environ); err != nil {
			return "", usageError{err}
		}
		return c.Store.Pebble.Path, nil
	}
	c, err := load(config, environ)
	return c.Store.Pebble.Path, err
}

func describeReport(r *server.StoreReport, took time.Duration) string {
	var b strings.Builder
	if r.LogID != "" {
		fmt.Fprintf(&b, "log %s: events %d to %d", r.LogID, r.Trimmed+1, r.Head)
		if r.Head == r.Trimmed {
			b.Reset()
			fmt.Fprintf(&b, "log %s: no events", r.LogID)
		}
		fmt.Fprintf(&b, "\nread %d events, %d event ids, %d pairs of state: %s in %v\n",
			r.Events, r.EventIDs, r.StatePairs, bytesText(r.Bytes), took.Round(time.Millisecond))
	}
	for _, lost := range r.Lost {
		fmt.Fprintf(&b, "LOST events %d to %d, as was found at %s", lost.After+1, lost.UpTo, lost.Found.UTC().Format(time.RFC3339))
		if lost.SetAside != "" {
			fmt.Fprintf(&b, ": `log repair` tries what is left of the files in %s", lost.SetAside)
		}
		b.WriteByte('\n')
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "DAMAGED %v\n", problem)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", r.More)
	}
	if r.OK() {
		b.WriteString("nothing is wrong\n")
	}
	return b.String()
}

// A bar shows progress on a terminal, and nothing elsewhere.
type bar struct{ w io.Writer }

const barWidth = 40

func newBar(w io.Writer) bar {
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return bar{w}
		}
	}
	return bar{}
}

func (b bar) show(done, all uint64) {
	if b.w == nil || all == 0 {
		return
	}
	n := int(float64(done) / float64(all) * barWidth)
	_, _ = fmt.Fprintf(b.w, "\r[%s%s] %d of %d events", strings.Repeat("=", n), strings.Repeat(" ", barWidth-n), done, all)
}

func (b bar) clear() {
	if b.w != nil {
		_, _ = io.WriteString(b.w, "\r\x1b[K")
	}
}
