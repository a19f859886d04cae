package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// toStdout stands for standard output, or input.
const toStdout = "-"

func newBackup(std streams) *cobra.Command {
	var addr, to string
	var credentials clientCredentials
	c := &cobra.Command{
		Use:   "backup",
		Short: "Copy the store of a running gateway",
		Long: `backup makes a consistent copy of the store of a gateway while it runs, and checks
it against its manifest. It has all events that were acknowledged before, and the
state of subscriptions.

  webhook-gateway backup --to backup-monday        a folder, for "log verify" and "restore"
  webhook-gateway backup --to backup-monday.tar    one file
  webhook-gateway backup --to - | ssh host ...     a tar stream

The copy comes over the internal HTTP port. It has everything that the store has:
keep it as safe.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usageError{errors.New("--to: give a folder, a file that ends with .tar, or - for standard output")}
			}
			if err := checkTarget(to); err != nil {
				return fmt.Errorf("no backup was made: %w", err)
			}
			response, err := askInternal(cmd.Context(), http.MethodPost, addr, server.BackupPath, "application/x-tar", &credentials)
			if err != nil {
				return fmt.Errorf("no backup was made: %w", err)
			}
			defer func() { _ = response.Body.Close() }() // what is missing of it was noticed
			manifest, err := saveBackup(cmd.Context(), response.Body, to, std.out)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(std.err, "backup of log %s up to event %d: %d files, %s\n",
				manifest.LogID, manifest.Head, len(manifest.Files), bytesText(manifest.Bytes()))
			return nil
		},
	}
	credentials.flags(c, std.environ)
	c.Flags().StringVar(&addr, "http-addr", defaultHTTPAddr, "the internal HTTP `address` of the gateway")
	c.Flags().StringVar(&to, "to", "", "where to: a `folder`, a file.tar, or - for standard output")
	isFile(c, "to")
	return c
}

// checkTarget returns why a backup could not be put somewhere. It is found out before the
// gateway is asked, which makes one backup at a time: it would be busy for nothing.
func checkTarget(to string) error {
	switch {
	case to == toStdout:
		return nil
	case !strings.HasSuffix(to, ".tar"):
		return server.CheckBackupTarget(to)
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists: give another name, or remove it", to)
	}
	return nil
}

// saveBackup saves a tar stream, and checks it.
func saveBackup(ctx context.Context, body io.Reader, to string, stdout io.Writer) (server.BackupManifest, error) {
	switch {
	case to == toStdout:
		return server.CheckBackup(ctx, io.TeeReader(body, stdout))
	case !strings.HasSuffix(to, ".tar"):
		return server.SaveBackup(ctx, body, to)
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the user's choice
	if err != nil {
		return server.BackupManifest{}, fmt.Errorf("make the file of the backup: %w", err)
	}
	manifest, err := server.CheckBackup(ctx, io.TeeReader(body, file))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return manifest, errors.Join(err, os.Remove(to))
	}
	return manifest, nil
}

func newRestore(std streams) *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "restore",
		Short: "Make a store of a backup",
		Long: `restore puts a backup into a folder that is empty or does not exist, and compares
each file with the manifest. If one differs nothing is left there. Then start a
gateway on the folder.

Events that came after the backup are not in it. Cursors of them are refused with
HISTORY_LOST and the last cursor that is certain: none comes to mean another event.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" || to == "" {
				return usageError{errors.New("--from and --to: give the backup, and an empty folder for the store")}
			}
			manifest, err := restore(cmd.Context(), from, to)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.out, "restored log %s up to event %d, as of %s, in %s\n",
				manifest.LogID, manifest.Head, manifest.Created.Format(time.RFC3339), to)
			return err
		},
	}
	c.Flags().StringVar(&from, "from", "", "the backup: a `folder`, a tar file, or - for a tar stream on standard input")
	c.Flags().StringVar(&to, "to", "", "the `folder` for the store: store.pebble.path of the gateway")
	isFile(c, "from")
	isFile(c, "to")
	return c
}

func restore(ctx context.Context, from, to string) (server.BackupManifest, error) {
	if from == toStdout {
		return server.Restore(ctx, os.Stdin, to)
	}
	info, err := os.Stat(from)
	if err != nil {
		return server.BackupManifest{}, fmt.Errorf("open the backup: %w", err)
	}
	if info.IsDir() {
		return server.RestoreFolder(ctx, from, to)
	}
	file, err := os.Open(from) //nolint:gosec // the user's choice
	if err != nil {
		return server.BackupManifest{}, fmt.Errorf("open the backup: %w", err)
	}
	defer file.Close()
	return server.Restore(ctx, file, to)
}
