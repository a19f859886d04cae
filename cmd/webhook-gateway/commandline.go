package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// strict makes a command and all below it refuse what they do not know, in words
// without Go's types, and complete only what they accept.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return plainFlagError(err) })
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = noSuchCommand
		c.DisableFlagsInUseLine = true
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	c.Args = wellUsed(c.Args)
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, chosen := c.GetFlagCompletionFunc(f.Name); !chosen && f.Annotations[filesAnnotation] == nil {
			// It fails for a flag of a parent, which has its own.
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
	for _, child := range c.Commands() {
		strict(child)
	}
}

// filesAnnotation marks a flag whose value is a file.
const filesAnnotation = "files"

// isFile marks a flag of a command as one whose value is a file.
func isFile(c *cobra.Command, flag string) {
	_ = c.Flags().SetAnnotation(flag, filesAnnotation, []string{"true"}) // fails only for a flag that does not exist
}

// noSuchCommand refuses the name of a command that does not exist.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if c.SuggestionsMinimumDistance == 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if similar := c.SuggestionsFor(args[0]); len(similar) > 0 {
		message += ": did you mean " + strings.Join(similar, " or ") + "?"
	}
	return errors.New(message)
}

// mayClear annotates a command in which an empty flag removes what is there.
const mayClear = "clear"

// wellUsed refuses flags without a value, as of a shell variable that is not set, and
// says of arguments that do not fit which are taken.
func wellUsed(fit cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		var empty error
		c.Flags().Visit(func(f *pflag.Flag) {
			if text := f.Value.String(); text == "" && f.Value.Type() == "string" || text == "[]" && c.Annotations[mayClear] == "" {
				empty = fmt.Errorf("--%s is empty: give it a value, or leave it out", f.Name)
			}
		})
		if empty != nil || fit == nil {
			return empty
		}
		err := fit(c, args)
		_, taken, takes := strings.Cut(c.Use, " ")
		switch {
		case err == nil || c.HasSubCommands():
			return err
		case takes:
			return fmt.Errorf("it takes other arguments: `%s %s`", c.CommandPath(), taken)
		}
		return fmt.Errorf("`%s` takes flags only, and %q is none", c.CommandPath(), args[0])
	}
}

// newHelp is cobra's `help`, which ends with 0 for a command that does not exist.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, _, err := root.Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, child := range found.Commands() {
				if child.IsAvailableCommand() {
					names = append(names, child.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = noSuchCommand(found, rest)
			}
			if err != nil {
				return usageError{err}
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// goErrors are what Go's packages say of a value that does not parse.
var goErrors = []struct {
	said    *regexp.Regexp
	meaning string
}{
	{regexp.MustCompile(`strconv\.ParseU?[iI]nt: parsing .*: value out of range$`), "the number is too large"},
	{regexp.MustCompile(`strconv\.ParseU?[iI]nt: parsing .*$`), "give a whole number"},
	{regexp.MustCompile(`strconv\.ParseFloat: parsing .*$`), "give a number"},
	{regexp.MustCompile(`strconv\.ParseBool: parsing .*$`), "give true or false"},
	{regexp.MustCompile(`parse error on line .*$`), "a quotation mark is not closed"},
}

// exclusive is what cobra says of flags that exclude each other.
var exclusive = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)

// plainFlagError returns an error of the flags without what Go calls it.
func plainFlagError(err error) error {
	message := err.Error()
	if m := exclusive.FindStringSubmatch(message); m != nil {
		return fmt.Errorf("--%s exclude each other: give one of them", strings.Join(strings.Fields(m[1]), " and --"))
	}
	for _, e := range goErrors {
		if e.said.MatchString(message) {
			return errors.New(e.said.ReplaceAllLiteralString(message, e.meaning))
		}
	}
	return err
}
