package main

import "github.com/spf13/cobra"

func newLog(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "Look at an event log",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(
		newLogVerifyCommand(std),
		newLogRepairCommand(std),
	)
	return c
}
