package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newConfig(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check, print or compare a configuration",
	}
	var checked string
	check := &cobra.Command{
		Use:   "check",
		Short: "Report what is wrong with a configuration",
		Long:  "check reports every problem of a configuration at once, and ends with 2 if there is one.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := load(checked, std.environ); err != nil {
				return err
			}
			_, err := fmt.Fprintln(std.out, "the configuration is valid")
			return err
		},
	}
	configFlag(check, &checked)

	var printed string
	var env bool
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in force, with the references of secrets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if env { // whatever the configuration is: errors about it send people here
				for _, name := range server.EnvNames() {
					if _, err := fmt.Fprintln(std.out, name); err != nil {
						return err
					}
				}
				return nil
			}
			config, err := load(printed, std.environ)
			if err != nil {
				return err
			}
			text, err := yaml.Dump(config)
			if err != nil {
				return fmt.Errorf("print the configuration: %w", err)
			}
			_, err = std.out.Write(text)
			return err
		},
	}
	configFlag(show, &printed)
	show.Flags().BoolVar(&env, "env", false, "print the names of the environment variables that set keys instead")
	c.AddCommand(check, show, newConfigDiff(std))
	return c
}

// load returns the configuration of a file and the environment, never the one for
// development.
func load(path string, environ []string) (server.Config, error) {
	if isUnconfigured(path, environ) {
		return server.Config{}, usageError{errors.New("there is no configuration: name one by --config or $" + server.EnvConfig + "; without, serve runs for development")}
	}
	config, err := server.Load(configPath(path, environ), environ)
	if err != nil {
		return server.Config{}, usageError{err}
	}
	return config, nil
}
