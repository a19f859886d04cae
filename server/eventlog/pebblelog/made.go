package pebblelog

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// made knows the files that one opening of the database has created, so that a
// failed one leaves nothing behind. Pebble removes what nobody refers to at the end
// of an opening that succeeds; until then each attempt on a full disk would take
// more of the space that somebody frees.
//
// A table is needed if a manifest may refer to it. That was written after the table
// was complete, into the manifest that the marker names: a table that was completed
// later, or never, is needed by nobody.
type made struct {
	mu    sync.Mutex
	files map[string]*madeFile // by path
	// edits counts what was written to the manifest in force, or put one in force.
	edits    int
	manifest string // in force, if this opening put it in force
}

type madeFile struct {
	name string // without the folder
	// written: something was.
	written bool
	// completed is edits at the last sync since the last write, -1 without one.
	completed int
}

func newMade() made { return made{files: make(map[string]*madeFile)} }

const manifestMarker = "marker.manifest."

// create is called before a file is created.
func (m *made) create(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &madeFile{name: filepath.Base(path), completed: -1}
	m.files[path] = f
	if rest, ok := strings.CutPrefix(f.name, manifestMarker); ok {
		_, m.manifest, _ = strings.Cut(rest, ".")
		m.edits++
	}
}

// forget is called when a file is gone.
func (m *made) forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, path)
}

// file returns a file that this opening has created, nil for another.
func (m *made) file(path string) *madeFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[path]
}

// write is called before a file is written.
func (m *made) write(f *madeFile) {
	if f == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f.written, f.completed = true, -1
	if f.name == m.manifest {
		m.edits++
	}
}

// synced is called when a file was synced.
func (m *made) synced(f *madeFile) {
	if f == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f.completed = m.edits
}

// discard removes the files that nobody needs of an opening that has ended.
func (m *made) discard(disk vfs.FS) {
	m.remove(disk, func(f *madeFile) bool {
		switch {
		case isTable(f.name):
			return f.completed == -1 || f.completed == m.edits
		case strings.HasPrefix(f.name, "MANIFEST-"):
			return f.name != m.manifest
		case strings.HasSuffix(f.name, ".log"):
			return !f.written
		}
		return strings.HasSuffix(f.name, ".dbtmp")
	})
}

// discardIncomplete removes the tables that were not completed, of an opening whose
// fence is raised and that serves reads: nobody reads those.
func (m *made) discardIncomplete(disk vfs.FS) {
	m.remove(disk, func(f *madeFile) bool { return isTable(f.name) && f.completed == -1 })
}

func (m *made) remove(disk vfs.FS, unneeded func(*madeFile) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, f := range m.files {
		if unneeded(f) {
			_ = disk.Remove(path) // it may be gone already; an opening that succeeds removes it
			delete(m.files, path)
		}
	}
}
