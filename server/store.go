package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

// What follows works on the folder of a store that no gateway runs on.

// BackupManifest says what is in a backup.
type BackupManifest = pebblelog.Manifest

// StoreReport is what VerifyStore found.
type StoreReport = pebblelog.Report

// StoreRepaired says what RepairStore has done.
type StoreRepaired = pebblelog.Repaired

// SaveBackup makes a folder of a backup, which is a tar stream as the gateway sends it:
// see BackupPath. Restore makes a store of it.
func SaveBackup(ctx context.Context, from io.Reader, to string) (BackupManifest, error) {
	return pebblelog.SaveBackup(ctx, from, to)
}

// CheckBackupTarget returns an error unless a folder is empty or does not exist, as
// SaveBackup and Restore need it. It makes nothing.
func CheckBackupTarget(path string) error { return pebblelog.CheckTarget(path) }

// CheckBackup reads a backup, a tar stream, and compares each file with the manifest.
func CheckBackup(ctx context.Context, from io.Reader) (BackupManifest, error) {
	return pebblelog.CheckBackup(ctx, from)
}

// Restore makes a store of a backup, a tar stream, in a folder that is empty or does not
// exist. What differs from the manifest is an error, and leaves nothing there.
func Restore(ctx context.Context, from io.Reader, to string) (BackupManifest, error) {
	return pebblelog.Restore(ctx, from, to)
}

// RestoreFolder is like Restore, from a folder that SaveBackup made.
func RestoreFolder(ctx context.Context, from, to string) (BackupManifest, error) {
	return pebblelog.RestoreFolder(ctx, from, to)
}

// VerifyStore reads all of a store or of a backup folder, and changes nothing. Progress is
// called now and then with how many of all events were read, and may be nil.
func VerifyStore(ctx context.Context, path string, progress func(done, all uint64)) (*StoreReport, error) {
	return pebblelog.Verify(ctx, path, progress)
}

// RepairStore puts events that were lost back at their positions, as far as they are in
// the files of a folder; with an empty one, in those that the store has set aside.
func RepairStore(ctx context.Context, path, from string, logger *slog.Logger) (StoreRepaired, error) {
	return pebblelog.Repair(ctx, path, from, logger)
}

// LogMoved says what MoveLog has done.
type LogMoved = pebblelog.Moved

// MoveLog moves the log in a folder into a commit log that no gateway uses yet, and seals the
// folder; with ahead, it moves events alone. An interrupted one is gone on with. Progress is
// called now and then with how many of all events are there, and may be nil.
func MoveLog(
	ctx context.Context, to CommitLog, path string, ahead bool, logger *slog.Logger, progress func(done, all uint64),
) (moved LogMoved, err error) {
	commits, err := to.open(ctx, logger)
	if err != nil {
		return LogMoved{}, fmt.Errorf("open store.commit_log.%s: %w", to.Engine, err)
	}
	defer func() { err = errors.Join(err, commits.Close()) }()
	return pebblelog.Move(ctx, path, ahead, commits, "to store.commit_log."+to.Engine, logger, progress)
}
