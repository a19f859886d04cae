package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newLogCopyCommand(std streams) *cobra.Command {
	var path string
	var ahead bool
	c := &cobra.Command{
		Use:   "copy <folder>",
		Short: "Move the log of one machine into the commit log that gateways share",
		Long: `copy moves the event log in a folder into the store.commit_log of a configuration:
events with their positions, ids and receive times, event ids that are remembered,
subscriptions. Cursors stay valid. The commit log must be new, and the gateway of the
folder stopped. Gateways that have the commit log wait until it is done.

The folder is sealed before the last step: no gateway opens it again, so that there
are never two. Keep it until the others serve.

It can be interrupted, and goes on where it was. To stop the gateway for less time,
make a backup, restore it into another folder, and move that with --ahead first: it
moves the events that are there, and seals nothing. Then stop the gateway, and move its
own folder: what came since is left to do.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: firstArg(completeFolders),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := load(path, std.environ)
			if err != nil {
				return err
			}
			if !config.Store.CommitLog.Enabled() {
				return usageError{errors.New("store.commit_log.engine is none: name the commit log to move to")}
			}
			bar := newBar(std.err)
			start := time.Now()
			moved, err := server.MoveLog(cmd.Context(), config.Store.CommitLog, args[0], ahead, newLogger(slog.LevelWarn, "text", std.err), bar.show)
			bar.clear()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.out, "log %s: %d events were moved in %v, up to event %d\n", moved.LogID, moved.Events, time.Since(start).Round(time.Millisecond), moved.Head)
			if err != nil {
				return err
			}
			if moved.Sealed {
				_, err = fmt.Fprintf(std.out, "%s is sealed: start the gateways with this configuration, and an empty store.pebble.path\n", args[0])
			} else {
				_, err = fmt.Fprintln(std.out, "nothing is sealed: stop the gateway, and move its own folder without --ahead")
			}
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&ahead, "ahead", false, "move events alone, of a backup, while its gateway goes on")
	return c
}
