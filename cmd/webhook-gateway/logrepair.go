package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newLogRepairCommand(std streams) *cobra.Command {
	var path, from string
	c := &cobra.Command{
		Use:   "repair [folder]",
		Short: "Put lost events of a stopped store back, from files that were set aside",
		Long: `repair looks for events that are recorded as lost in write-ahead logs, the files
NNNNNN.log that a gateway has set aside or that somebody has found, and puts them
back at their own positions. What it cannot find stays lost.

A gateway does this by itself when it starts; this is for files that have come back
later. Readers and subscriptions that have passed the gap are not served these
events by themselves: read them from a cursor before it.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: firstArg(completeFolders),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := storeFolder(args, path, std.environ)
			if err != nil {
				return err
			}
			repaired, err := server.RepairStore(cmd.Context(), folder, from, newLogger(slog.LevelInfo, "text", std.err))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(std.out, "%d events were put back\n", repaired.PutBack); err != nil {
				return err
			}
			for _, lost := range repaired.Lost {
				if _, err := fmt.Fprintf(std.out, "LOST events %d to %d\n", lost.After+1, lost.UpTo); err != nil {
					return err
				}
			}
			if len(repaired.Lost) > 0 {
				return errors.New("events are still lost")
			}
			return nil
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&from, "from", "", "the `folder` with the files (default those that the store has set aside)")
	isFile(c, "from")
	return c
}
