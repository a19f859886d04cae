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
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// restoringName is a file in a folder that a restore is not finished in. No log is
// opened there.
const restoringName = "restore.incomplete"

// restoredName is a file in a folder that was restored, with the time of that. A person
// was there: the clock is not far ahead, the copy is old. It goes when the log was in use.
const restoredName = "restored"

// maxManifestBytes is far more than a manifest has.
const maxManifestBytes = 64 << 20

// ErrBackupDamaged is wrapped by what is wrong with a backup itself.
var ErrBackupDamaged = errors.New("the backup is damaged or not complete")

// errNotEmpty is for a folder that is to be filled.
var errNotEmpty = errors.New("the folder is not empty: give one that is empty, or does not exist")

// Restore makes a log of a backup, a tar stream, in a folder, which must be empty or
// not exist. Each file is compared with the manifest; if one differs nothing is left
// in the folder.
func Restore(ctx context.Context, from io.Reader, to string) (Manifest, error) {
	return unpack(ctx, tarFiles(from), to, false)
}

// RestoreFolder is like Restore, from a folder that SaveBackup made.
func RestoreFolder(ctx context.Context, from, to string) (Manifest, error) {
	return unpack(ctx, folderFiles(from), to, false)
}

// SaveBackup makes a folder of a tar stream, with its manifest. Otherwise it is like
// Restore. What it makes is not for a gateway to run on: it would not match the
// manifest any more.
func SaveBackup(ctx context.Context, from io.Reader, to string) (Manifest, error) {
	return unpack(ctx, tarFiles(from), to, true)
}

// CheckBackup reads a backup, a tar stream, up to its end, and compares each file with
// the manifest.
func CheckBackup(ctx context.Context, from io.Reader) (Manifest, error) {
	sums := make(map[string]BackupFile)
	var manifest []byte
	for entry, err := range tarFiles(from) {
		if err == nil && entry.name == ManifestName {
			manifest, err = io.ReadAll(io.LimitReader(entry.content, maxManifestBytes))
		} else if err == nil {
			var file BackupFile
			file, err = copySum(ctx, io.Discard, entry.content)
			file.Name = entry.name
			sums[entry.name] = file
		}
		if err != nil {
			return Manifest{}, fmt.Errorf("read the backup: %w", err)
		}
	}
	return checkManifest(manifest, sums)
}

// backupEntry is a file of a backup that is read.
type backupEntry struct {
	name    string
	content io.Reader
}

func unpack(ctx context.Context, entries iter.Seq2[backupEntry, error], to string, keepManifest bool) (m Manifest, err error) {
	existed, err := emptyFolder(to)
	if err != nil {
		return Manifest{}, err
	}
	// NOTE: It ends what a crash leaves here, too: the marker goes last.
	marker := filepath.Join(to, restoringName)
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return Manifest{}, fmt.Errorf("restore into %s: %w", to, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clearFolder(to, existed))
		}
	}()
	sums := make(map[string]BackupFile)
	var manifest []byte
	for entry, err := range entries {
		if err != nil {
			return Manifest{}, err
		}
		if entry.name == ManifestName {
			if manifest, err = io.ReadAll(io.LimitReader(entry.content, maxManifestBytes)); err != nil {
				return Manifest{}, fmt.Errorf("read the manifest: %w", err)
			}
			continue
		}
		if entry.name != filepath.Base(entry.name) || strings.HasPrefix(entry.name, ".") || entry.name == restoringName || entry.name == restoredName {
			return Manifest{}, fmt.Errorf("%w: %q is not the name of a file of a backup", ErrBackupDamaged, entry.name)
		}
		file, err := unpackFile(ctx, filepath.Join(to, entry.name), entry.content)
		if err != nil {
			return Manifest{}, fmt.Errorf("restore %s: %w", entry.name, err)
		}
		file.Name = entry.name
		sums[entry.name] = file
	}
	m, err = checkManifest(manifest, sums)
	if err != nil {
		return Manifest{}, err
	}
	name, content := restoredName, []byte(time.Now().UTC().Format(time.RFC3339))
	if keepManifest {
		name, content = ManifestName, manifest
	}
	if err := writeFile(machineDisk, to, name, content); err != nil {
		return Manifest{}, err
	}
	// NOTE: All files are durable before the folder says that it is whole.
	if err := errors.Join(syncFolder(machineDisk, to), os.Remove(marker), syncFolder(machineDisk, to)); err != nil {
		return Manifest{}, fmt.Errorf("restore into %s: %w", to, err)
	}
	return m, nil
}

func unpackFile(ctx context.Context, path string, content io.Reader) (BackupFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the name was checked
	if err != nil {
		return BackupFile{}, err
	}
	sum, err := copySum(ctx, file, content)
	if err == nil {
		err = file.Sync()
	}
	return sum, errors.Join(err, file.Close())
}

// copySum copies a file and returns its size and checksum.
func copySum(ctx context.Context, to io.Writer, from io.Reader) (BackupFile, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), contextReader{ctx, from})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends too early: %w", ErrBackupDamaged, err)
	}
	return BackupFile{Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// checkManifest compares a manifest with the files that are there.
func checkManifest(text []byte, files map[string]BackupFile) (Manifest, error) {
	if text == nil {
		return Manifest{}, fmt.Errorf("%w: it has no %s, which is its end", ErrBackupDamaged, ManifestName)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s is malformed: %w", ErrBackupDamaged, ManifestName, err)
	}
	if m.Version != manifestVersion {
		return Manifest{}, fmt.Errorf("the backup has version %d and this gateway reads version %d: use the version of the gateway that wrote it", m.Version, manifestVersion)
	}
	for _, want := range m.Files {
		got, ok := files[want.Name]
		switch {
		case !ok:
			return Manifest{}, fmt.Errorf("%w: %s is missing", ErrBackupDamaged, want.Name)
		case got != want:
			return Manifest{}, fmt.Errorf("%w: %s is not as the manifest says", ErrBackupDamaged, want.Name)
		}
	}
	if len(files) != len(m.Files) {
		return Manifest{}, fmt.Errorf("%w: it has %d files, and %d are in the manifest", ErrBackupDamaged, len(files), len(m.Files))
	}
	return m, nil
}

// tarFiles reads a tar stream to its end, which may come after that of the archive: who
// sends it is done only then.
func tarFiles(r io.Reader) iter.Seq2[backupEntry, error] {
	return func(yield func(backupEntry, error) bool) {
		archive := tar.NewReader(r)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				if _, err := io.Copy(io.Discard, r); err != nil {
					yield(backupEntry{}, fmt.Errorf("%w: %w", ErrBackupDamaged, err))
				}
				return
			}
			if err != nil {
				yield(backupEntry{}, fmt.Errorf("%w: %w", ErrBackupDamaged, err))
				return
			}
			if header.Typeflag != tar.TypeReg {
				yield(backupEntry{}, fmt.Errorf("%w: %q is not a file", ErrBackupDamaged, header.Name))
				return
			}
			if !yield(backupEntry{header.Name, archive}, nil) {
				return
			}
		}
	}
}

func folderFiles(folder string) iter.Seq2[backupEntry, error] {
	return func(yield func(backupEntry, error) bool) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			yield(backupEntry{}, fmt.Errorf("read the backup: %w", err))
			return
		}
		for _, entry := range entries {
			file, err := os.Open(filepath.Join(folder, entry.Name())) //nolint:gosec // a file of the folder given
			if err != nil {
				yield(backupEntry{}, fmt.Errorf("read the backup: %w", err))
				return
			}
			ok := yield(backupEntry{entry.Name(), file}, nil)
			_ = file.Close()
			if !ok {
				return
			}
		}
	}
}

// CheckTarget returns an error unless a folder is empty or does not exist, as SaveBackup
// and Restore need it. It makes nothing.
func CheckTarget(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look into the folder: %w", err)
	case len(foreign(entries)) > 0:
		return fmt.Errorf("%s: %w", path, errNotEmpty)
	}
	return nil
}

// emptyFolder makes sure that a folder exists and is empty, and reports whether it
// existed.
func emptyFolder(path string) (existed bool, err error) {
	if err := CheckTarget(path); err != nil {
		return false, err
	}
	if _, err := os.Stat(path); err == nil {
		return true, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return false, fmt.Errorf("make the folder: %w", err)
	}
	return false, nil
}

// clearFolder removes what was put into a folder that was empty.
func clearFolder(path string, existed bool) error {
	if !existed {
		return os.RemoveAll(path)
	}
	entries, err := os.ReadDir(path)
	for _, entry := range foreign(entries) {
		err = errors.Join(err, os.RemoveAll(filepath.Join(path, entry.Name())))
	}
	return err
}

// foreign leaves out what a file system has at its root by itself.
func foreign(entries []os.DirEntry) []os.DirEntry {
	return slices.DeleteFunc(entries, func(entry os.DirEntry) bool { return entry.Name() == "lost+found" })
}
