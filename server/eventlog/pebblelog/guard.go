package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A guard stands between one opening of the database and the disk, below the
// fence. It keeps what Pebble would make worse when files are damaged:
//
//   - It lets no file be removed before it is known that nothing was lost.
//   - It finds damaged blocks of tables itself. Pebble would search for the bit that
//     was flipped, by trying each, for seconds to a minute and at every read.
//   - It calls a sector that cannot be read damaged, after some patience. Pebble calls
//     it a failure that may pass.
//   - It shows Pebble no options of an earlier opening. Pebble needs none of them, and
//     does not open a database whose file of them is damaged.
type guard struct {
	vfs.FS

	mu sync.Mutex
	// holding is set until files may be removed. Those that Pebble has removed meanwhile
	// are in held.
	holding bool
	held    []string
	// replaying is the write-ahead log that was last opened for reading.
	replaying string

	// ends has write-ahead logs that are read up to a damage only, and are not there if
	// that is 0.
	ends map[string]int64

	sectors *badSectors
}

func newGuard(disk vfs.FS, sectors *badSectors) *guard {
	return &guard{FS: disk, holding: true, sectors: sectors}
}

const optionsPrefix = "OPTIONS-"

func isWAL(name string) bool { return filepath.Ext(name) == ".log" }

// Open opens a file for reading.
func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := g.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	opening := g.holding
	if isWAL(name) {
		g.replaying = name
	}
	g.mu.Unlock()
	if opening && strings.HasPrefix(filepath.Base(name), optionsPrefix) {
		return &cutFile{file, 0}, nil
	}
	if end, ok := g.ends[name]; ok {
		return &cutFile{file, end}, nil
	}
	if isTable(name) {
		return &checkedTable{File: file, name: name, sectors: g.sectors}, nil
	}
	return file, nil
}

// List lists a folder.
func (g *guard) List(folder string) ([]string, error) {
	names, err := g.FS.List(folder)
	return slices.DeleteFunc(names, func(name string) bool {
		end, ok := g.ends[g.PathJoin(folder, name)]
		return ok && end == 0
	}), err
}

// cutFile is a file that is read up to an end only.
type cutFile struct {
	vfs.File
	left int64
}

func (f *cutFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.File.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// Remove removes a file. A write-ahead log with nothing but its end in it, as an
// opening that failed leaves behind, is not held back.
func (g *guard) Remove(name string) error {
	empty := false
	if isWAL(name) {
		info, err := g.Stat(name)
		empty = err == nil && info.Size() <= walRecycledLen
	}
	g.mu.Lock()
	if g.holding && !empty {
		g.held = append(g.held, name)
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()
	return g.FS.Remove(name)
}

// replayed returns the write-ahead log that an opening which failed could not
// replay, empty if it did not come to that.
func (g *guard) replayed() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.replaying
}

// letGo lets files be removed: those that were held back, too.
func (g *guard) letGo() {
	g.mu.Lock()
	held := g.held
	g.holding, g.held = false, nil
	g.mu.Unlock()
	for _, name := range held {
		_ = g.FS.Remove(name) // Pebble tries again at the next opening
	}
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// checkedTable is a table that is read.
type checkedTable struct {
	vfs.File
	name    string
	sectors *badSectors
}

const (
	// A block ends with a byte for its compression and a checksum of all before.
	blockChecksumLen = 4
	// minCheckedLen is more than what is read of a table that is no block, its footer.
	// In so little a bit is found at once.
	minCheckedLen = 512
)

// ReadAt reads a block with its trailer.
func (t *checkedTable) ReadAt(p []byte, offset int64) (int, error) {
	n, err := t.File.ReadAt(p, offset)
	if err != nil {
		return n, t.sectors.failed(t.name, offset, err)
	}
	if n < minCheckedLen {
		return n, nil
	}
	block, sum := p[:n-blockChecksumLen], binary.LittleEndian.Uint32(p[n-blockChecksumLen:])
	if pebbleChecksum(block) != sum {
		return 0, fmt.Errorf("%w: the block of %d bytes at %d of %s does not match its checksum", pebble.ErrCorruption, n, offset, filepath.Base(t.name))
	}
	return n, nil
}

// pebbleChecksum is the checksum that Pebble writes behind blocks and in front of
// the chunks of its logs.
func pebbleChecksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

const (
	// A sector that cannot be read is damaged when that lasted for sectorPatience and
	// was tried sectorTries times.
	sectorPatience = 10 * time.Second
	sectorTries    = 3
	maxBadSectors  = 10_000
)

// badSectors remembers what of the files cannot be read, over all openings. Its zero
// value is ready.
type badSectors struct {
	// impatient is set if all that cannot be read is damaged: nothing is made of it.
	impatient bool

	mu    sync.Mutex
	since map[sector]badSector
	now   func() time.Time // time.Now, if not set
}

type sector struct {
	name   string
	offset int64
}

type badSector struct {
	since time.Time
	tries int
}

// failed returns what a read that failed is to be taken for.
func (b *badSectors) failed(name string, offset int64, err error) error {
	if !errors.Is(err, syscall.EIO) {
		return err
	}
	damaged := fmt.Errorf("%w: the block at %d of %s cannot be read: %w", pebble.ErrCorruption, offset, filepath.Base(name), err)
	if b.impatient {
		return damaged
	}
	now := time.Now
	if b.now != nil {
		now = b.now
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.since) >= maxBadSectors || b.since == nil {
		b.since = make(map[sector]badSector)
	}
	at := sector{name, offset}
	bad, known := b.since[at]
	if !known {
		bad.since = now()
	}
	bad.tries++
	b.since[at] = bad
	if bad.tries >= sectorTries && now().Sub(bad.since) >= sectorPatience {
		return damaged
	}
	return err
}

// pending reports whether a write-ahead log, or its copy, could not be read for a reason
// that may still pass.
func (b *badSectors) pending(wal string, err error) bool {
	return err != nil && !pebble.IsCorruptionError(b.failed(filepath.Base(wal), 0, err))
}
