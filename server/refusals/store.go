package refusals

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	folderMode = 0o700
	fileMode   = 0o600

	fileName    = "refusals"
	newName     = "refusals.new"
	damagedName = "refusals.damaged"

	// A frame is the length of what follows its head, a checksum of that, and then the number
	// of the change and the refusal.
	headLen   = 4 + 4
	numberLen = 8
	maxFrame  = 16 << 10 // more than the texts of an entry have
	// spareBytes is how much of the file may be entries that have changed since, beside as
	// much as there are entries.
	spareBytes = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// store keeps entries in a file: one after the other, as they change. Now and then, and after a
// failure, it writes another file with nothing but what there is. That is far less than a
// database would do, which has faults of its own on a disk that fails. It is for one goroutine,
// but for err.
type store struct {
	disk   vfs.FS
	path   string
	logger *slog.Logger

	file vfs.File // nil: it has to be written whole
	// damaged: the file cannot be read to its end. It stays where it is until another one is
	// written, so that what could be read of it is never on no disk.
	damaged bool
	// size is that of the file, and whole what it was when it was written whole.
	size, whole int
	failed      atomic.Pointer[error]
}

func newStore(disk vfs.FS, path string, logger *slog.Logger) *store {
	return &store{disk: disk, path: path, logger: logger}
}

// err returns why nothing is stored, or nil.
func (s *store) err() error {
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

func (s *store) name(file string) string { return s.disk.PathJoin(s.path, file) }

// load returns the entries of the file in the order of their changes. Of a file that is damaged
// it is those before the damage.
func (s *store) load() []*entry {
	entries, err := s.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		s.logger.Warn("the file with the refused deliveries is damaged, or was being written when the machine failed: it is set aside, and what comes before that is used",
			"file", s.name(damagedName), "entries", len(entries), "error", err)
		s.damaged = true
	}
	return entries
}

// setAside makes room for the file that takes the place of one that is damaged.
func (s *store) setAside() {
	if !s.damaged {
		return
	}
	s.damaged = false
	if err := s.disk.Rename(s.name(fileName), s.name(damagedName)); err != nil {
		s.logger.Warn("the file with the refused deliveries could not be set aside", "error", err)
	}
}

func (s *store) read() ([]*entry, error) {
	file, err := s.disk.Open(s.name(fileName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was read
	newest := make(map[key]*entry)
	for err == nil {
		var e *entry
		if e, err = readFrame(file); err == nil {
			newest[e.key] = e
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	entries := make([]*entry, 0, len(newest))
	for _, e := range newest {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.changed, b.changed) })
	return entries, err
}

// readFrame reads an entry. Its error is io.EOF at the end.
func readFrame(r io.Reader) (*entry, error) {
	var head [headLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length, sum := binary.LittleEndian.Uint32(head[:4]), binary.LittleEndian.Uint32(head[4:])
	if length < numberLen || length > maxFrame {
		return nil, fmt.Errorf("an entry has %d bytes", length)
	}
	frame := make([]byte, length)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, errors.Join(errors.New("the last entry is not whole"), io.ErrUnexpectedEOF)
	}
	if crc32.Checksum(frame, castagnoli) != sum {
		return nil, errors.New("an entry does not match its checksum")
	}
	refusal := &webhookgatewayv1.Refusal{}
	if err := proto.Unmarshal(frame[numberLen:], refusal); err != nil {
		return nil, err
	}
	return entryOf(refusal, binary.LittleEndian.Uint64(frame)), nil
}

// appendFrame appends an entry.
func appendFrame(b []byte, e *entry) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, headLen)...)
	b = binary.LittleEndian.AppendUint64(b, e.changed)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, e.proto())
	frame := b[start+headLen:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(frame))) //nolint:gosec // far less
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(frame, castagnoli))
	return b, err
}

// needsAll reports whether the next save has to be of all entries, and not only of those that
// have changed.
func (s *store) needsAll() bool { return s.file == nil || s.size > 2*s.whole+spareBytes }

// save stores entries: all, or those that have changed.
func (s *store) save(entries []entry, all bool) error {
	var frames []byte
	for i := range entries {
		var err error
		if frames, err = appendFrame(frames, &entries[i]); err != nil {
			return err // it cannot be: all texts are valid
		}
	}
	if all {
		return s.replace(frames)
	}
	if err := write(s.file, frames); err != nil {
		s.close() // nobody knows what is at its end
		return err
	}
	s.size += len(frames)
	return nil
}

// replace writes another file, and then puts it in the place of the one there is.
func (s *store) replace(frames []byte) (err error) {
	s.close()
	if err := s.disk.MkdirAll(s.path, folderMode); err != nil {
		return err
	}
	file, err := s.disk.Create(s.name(newName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = s.disk.Remove(s.name(newName)) // on a full disk it takes the space of others
		}
	}()
	_ = os.Chmod(s.name(newName), fileMode) // what cannot be made private is said at the start
	if err := write(file, frames); err != nil {
		return err
	}
	s.setAside()
	if err := s.disk.Rename(s.name(newName), s.name(fileName)); err != nil {
		return err
	}
	for _, folder := range []string{s.path, s.disk.PathDir(s.path)} { // the folder may be new
		if err := s.syncFolder(folder); err != nil {
			return err
		}
	}
	s.file, s.size, s.whole = file, len(frames), len(frames)
	return nil
}

func (s *store) syncFolder(path string) error {
	folder, err := s.disk.OpenDir(path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // it was only synced
	return folder.Sync()
}

func write(file vfs.File, data []byte) error {
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

func (s *store) close() {
	if s.file != nil {
		_ = s.file.Close() // all was synced
		s.file = nil
	}
}

// told notes how saving went, and logs when that changes.
func (s *store) told(err error) {
	before := s.failed.Load()
	switch {
	case err != nil:
		s.failed.Store(&err)
		if before == nil {
			s.logger.Warn("refused deliveries are kept in memory only, until they can be stored", "folder", s.path, "error", err)
		}
	case before != nil:
		s.failed.Store(nil)
		s.logger.Info("refused deliveries are stored again", "folder", s.path)
	}
}
