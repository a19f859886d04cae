package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The manifest of the database says which tables are in it. Pebble takes a damaged one
// for one that ends there: it goes on with the tables of long ago, and removes the
// others, though nothing is wrong with them. So a manifest that is damaged is the one
// thing that keeps a log from opening, with all files as they are: a person restores a
// backup, or has the tables.

var errManifest = errors.New("the manifest of the database is damaged: nothing was removed; restore a backup into another folder, and keep this one")

// manifestHeaderLen is the length of the header of a chunk of a manifest: checksum,
// length, kind. Otherwise it is like a write-ahead log, see walscan.go.
const manifestHeaderLen = 7

// checkManifestFile returns an error if the manifest is certainly damaged.
func checkManifestFile(disk vfs.FS, path string) error {
	names, err := disk.List(path)
	if err != nil {
		return fmt.Errorf("list %s: %w", path, err)
	}
	marker, manifest := "", ""
	for _, name := range names { // marker.manifest.<number>.<name of the manifest>
		if rest, ok := strings.CutPrefix(name, manifestMarker); ok && name > marker {
			if _, current, ok := strings.Cut(rest, "."); ok {
				marker, manifest = name, current
			}
		}
	}
	if manifest == "" {
		return nil // a new log, or nothing that Pebble would open
	}
	file, err := disk.Open(disk.PathJoin(path, manifest))
	if err != nil {
		return fmt.Errorf("open the manifest of the database: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read the manifest of the database: %w", err)
	}
	if at, damaged := manifestDamage(content); damaged {
		return fmt.Errorf("%w (%s at %d)", errManifest, manifest, at)
	}
	return nil
}

// manifestDamage reports whether bytes of a manifest are damaged: whole chunks follow
// what is none. Without them it is an end that a crash has torn.
func manifestDamage(content []byte) (at int, damaged bool) {
	at = -1
	for start := 0; start < len(content); start += walBlockLen {
		block := content[start:min(start+walBlockLen, len(content))]
		for i := 0; i+manifestHeaderLen <= len(block); {
			length := int(binary.LittleEndian.Uint16(block[i+4:]))
			end := i + manifestHeaderLen + length
			kind := block[i+6]
			if kind >= chunkFull && kind <= chunkLast && end <= len(block) && pebbleChecksum(block[i+6:end]) == binary.LittleEndian.Uint32(block[i:]) {
				if at >= 0 {
					return at, true
				}
				i = end
				continue
			}
			if at < 0 {
				at = start + i
			}
			i++
		}
	}
	return at, false
}

// listTables returns the paths of the tables in a folder.
func listTables(disk vfs.FS, folder string) ([]string, error) {
	names, err := disk.List(folder)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	var tables []string
	for _, name := range names {
		if isTable(name) {
			tables = append(tables, disk.PathJoin(folder, name))
		}
	}
	return tables, nil
}

// unusedTables returns those of the tables before the opening that the database does
// not have, and whether its manifest is stale: tables that it has are gone, and there
// are others.
func (s *store) unusedTables(before []string) (unused []string, stale bool) {
	used, gone := make(map[string]bool), false
	version := s.db.DebugCurrentVersion()
	for level := range version.Levels {
		iter := version.Levels[level].Iter()
		for table := iter.First(); table != nil; table = iter.Next() {
			name := fmt.Sprintf("%06d.sst", uint64(table.TableBacking.DiskFileNum))
			used[name] = true
			if _, err := s.disk.Stat(s.disk.PathJoin(s.path, name)); errors.Is(err, fs.ErrNotExist) {
				gone = true
			}
		}
	}
	for _, table := range before {
		if !used[filepath.Base(table)] {
			unused = append(unused, table)
		}
	}
	return unused, gone && len(unused) > 0
}
