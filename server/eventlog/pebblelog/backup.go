package pebblelog

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A backup is the files of a checkpoint of the database, the mark of the head, and a
// manifest with the checksum of each. It comes as a tar stream with the manifest at
// its end, so that one that was cut off is noticed.

const (
	// ManifestName is the name of the manifest in a backup.
	ManifestName    = "backup.json"
	manifestVersion = 1

	// backupPrefix begins the name of the folder of a checkpoint, within that of the log.
	backupPrefix = "backup-"
)

// ErrBackupRunning is returned while another backup is being made.
var ErrBackupRunning = errors.New("another backup is being made: wait until it has ended")

// Manifest says what is in a backup.
type Manifest struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	// LogID names the log, and Head is the newest event that the backup certainly has.
	LogID string `json:"log_id"`
	Head  uint64 `json:"head"`
	// Trimmed is the last event that retention had removed.
	Trimmed uint64       `json:"trimmed"`
	Files   []BackupFile `json:"files"`
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Bytes returns the size of all files.
func (m Manifest) Bytes() int64 {
	n := int64(0)
	for _, file := range m.Files {
		n += file.Bytes
	}
	return n
}

// Backup is a consistent copy of a log, taken while the log runs. It must be closed.
type Backup struct {
	log      *Log
	folder   string
	manifest Manifest
}

// Backup takes a copy. It has all events that were acknowledged before the call. As
// far as the file system has hard links it takes the space of the write-ahead log at
// first, and holds the files that it shares with the log until it is closed. It fails if
// that would take more than half of the reserve of the disk. One is taken at a time:
// ErrBackupRunning.
func (l *Log) Backup() (*Backup, error) {
	if !l.backup.TryLock() {
		return nil, ErrBackupRunning
	}
	b := &Backup{log: l}
	if err := b.take(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Backup) take() error {
	l := b.log
	now := l.clock.wall().UTC()
	folder := l.disk.PathJoin(l.config.Path, fmt.Sprintf("%s%d", backupPrefix, now.UnixNano()))
	mark := l.acknowledged()
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return eventlog.ErrClosed
	}
	if err := l.space.roomFor(l.store.db.Metrics().WAL.Size); err != nil {
		return err
	}
	b.folder = folder
	if err := l.store.checkpoint(folder); err != nil {
		return fmt.Errorf("take a checkpoint of the event log: %w", err)
	}
	if err := writeHeadMark(l.disk, folder, mark); err != nil {
		return err
	}
	b.manifest = Manifest{
		Version: manifestVersion, Created: now, LogID: l.ID().String(),
		Head: uint64(mark.head.position), Trimmed: uint64(l.Bounds().Trimmed),
	}
	return nil
}

// checkpoint makes a copy of the database. Behind a raised fence what Pebble says of
// its files is not true.
func (s *store) checkpoint(folder string) error {
	if err := s.fence.err(); err != nil {
		return err
	}
	if err := s.db.Checkpoint(folder, pebble.WithFlushedWAL()); err != nil {
		return err
	}
	return s.fence.err()
}

// Manifest returns what is known of the backup before it was written: no files.
func (b *Backup) Manifest() Manifest { return b.manifest }

// WriteTo writes the backup as a tar stream.
func (b *Backup) WriteTo(ctx context.Context, w io.Writer) error {
	archive := tar.NewWriter(w)
	disk := b.log.disk
	names, err := disk.List(b.folder)
	if err != nil {
		return fmt.Errorf("list the files of the backup: %w", err)
	}
	slices.Sort(names)
	manifest := b.manifest
	for _, name := range names {
		file, err := b.writeFile(ctx, archive, name)
		if err != nil {
			return fmt.Errorf("write %s of the backup: %w", name, err)
		}
		manifest.Files = append(manifest.Files, file)
	}
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest of the backup: %w", err)
	}
	err = archive.WriteHeader(&tar.Header{Name: ManifestName, Mode: 0o600, Size: int64(len(text)), ModTime: manifest.Created})
	if err == nil {
		_, err = archive.Write(text)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return fmt.Errorf("write the manifest of the backup: %w", err)
	}
	return nil
}

func (b *Backup) writeFile(ctx context.Context, archive *tar.Writer, name string) (BackupFile, error) {
	disk := b.log.disk
	file, err := disk.Open(disk.PathJoin(b.folder, name))
	if err != nil {
		return BackupFile{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return BackupFile{}, err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: b.manifest.Created}); err != nil {
		return BackupFile{}, err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(archive, sum), contextReader{ctx, file}, info.Size()); err != nil {
		return BackupFile{}, err
	}
	return BackupFile{Name: name, Bytes: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// Close releases the files that are not needed any more.
func (b *Backup) Close() error {
	defer b.log.backup.Unlock()
	if b.folder == "" {
		return nil
	}
	if err := b.log.disk.RemoveAll(b.folder); err != nil {
		return fmt.Errorf("remove the checkpoint of a backup: %w", err)
	}
	return nil
}

// removeOldBackups removes what a crash has left of backups.
func (l *Log) removeOldBackups() {
	names, err := l.disk.List(l.config.Path)
	for _, name := range names {
		if strings.HasPrefix(name, backupPrefix) {
			err = errors.Join(err, l.disk.RemoveAll(l.disk.PathJoin(l.config.Path, name)))
		}
	}
	if err != nil {
		l.logger.Warn("what is left of a backup that was not finished was not removed", "error", err)
	}
}

// contextReader ends reading with a context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
