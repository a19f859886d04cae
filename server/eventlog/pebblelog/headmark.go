package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The mark of the head is a small file beside the database that says up to where
// events were acknowledged, and the epochs of their positions. Pebble takes a
// damaged end of its write-ahead log for one that a crash has torn, and goes on
// without it. An opening that finds less than the mark knows better: see
// recovery.go. The mark is at most headMarkInterval behind, and exact after a Close.

const (
	headMarkName     = "head.mark"
	headMarkInterval = time.Second

	headMarkMagic   = "whgwhead"
	headMarkVersion = 1
	// magic, version, log, head, number of epochs; and the checksum at the end
	headMarkFixed = len(headMarkMagic) + 1 + 8 + markLen + 4
	epochLen      = 16
	// maxHeadMarkBytes is far more than the epochs of a lifetime, which are in endedName, too.
	maxHeadMarkBytes = 64 << 20
)

// errMark is for a mark that was read, and is none.
var errMark = errors.New("the mark of the head")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// headMark is what is known of a log besides its database. Its zero value is that
// nothing is.
type headMark struct {
	id     eventlog.ID
	head   mark
	epochs []eventlog.EpochStart
	// running is set if it is not from a file: the log is open.
	running bool
	// unread is set if the file is there and could not be read yet.
	unread bool
	// damaged are the tables that held up the last opening.
	damaged []damagedTable
	// sectors are what could not be read of the files so far; nil if nothing is known.
	sectors *badSectors
}

func (m headMark) encode() []byte {
	b := make([]byte, 0, headMarkFixed+epochLen*len(m.epochs)+4)
	b = append(append(b, headMarkMagic...), headMarkVersion)
	b = append(append(b, m.id[:]...), m.head.encode()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.epochs))) //nolint:gosec // far fewer
	for _, start := range m.epochs {
		b = binary.BigEndian.AppendUint64(b, uint64(start.First))
		b = binary.BigEndian.AppendUint64(b, uint64(start.Epoch))
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHeadMark(b []byte) (headMark, error) {
	if len(b) < headMarkFixed+4 || string(b[:len(headMarkMagic)]) != headMarkMagic {
		return headMark{}, errors.New("it is not a mark of the head")
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return headMark{}, errors.New("its checksum is wrong")
	}
	body = body[len(headMarkMagic):]
	if body[0] != headMarkVersion {
		return headMark{}, fmt.Errorf("it has version %d and this gateway reads version %d", body[0], headMarkVersion)
	}
	m := headMark{id: eventlog.ID(body[1:9])}
	body = body[9:]
	var err error
	if m.head, err = decodeMark(body[:markLen]); err != nil {
		return headMark{}, err
	}
	n := int(binary.BigEndian.Uint32(body[markLen:]))
	body = body[markLen+4:]
	if len(body) != n*epochLen {
		return headMark{}, errors.New("it is truncated")
	}
	for ; len(body) > 0; body = body[epochLen:] {
		m.epochs = append(m.epochs, eventlog.EpochStart{
			First: eventlog.Position(binary.BigEndian.Uint64(body)),
			Epoch: eventlog.Epoch(binary.BigEndian.Uint64(body[8:])),
		})
	}
	return m, nil
}

// readHeadMark returns the zero mark if there is none.
func readHeadMark(disk vfs.FS, folder string) (headMark, error) {
	file, err := disk.Open(disk.PathJoin(folder, headMarkName))
	if errors.Is(err, fs.ErrNotExist) {
		return headMark{}, nil
	}
	if err != nil {
		return headMark{}, fmt.Errorf("open the mark of the head: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxHeadMarkBytes))
	if err != nil {
		return headMark{}, fmt.Errorf("read the mark of the head: %w", err)
	}
	m, err := decodeHeadMark(b)
	if err != nil {
		return headMark{}, fmt.Errorf("read %w: %w", errMark, err)
	}
	return m, nil
}

func writeHeadMark(disk vfs.FS, folder string, m headMark) error {
	return writeFile(disk, folder, headMarkName, m.encode())
}

// writeFile replaces a file: after a crash there is the old one or the new one.
func writeFile(disk vfs.FS, folder, name string, content []byte) error {
	path := disk.PathJoin(folder, name)
	file, err := disk.Create(path+".tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = disk.Remove(path + ".tmp") // what it takes of a full disk
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := disk.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncFolder(disk, folder)
}

func syncFolder(disk vfs.FS, folder string) error {
	dir, err := disk.OpenDir(folder)
	if err != nil {
		return fmt.Errorf("open the folder %s: %w", folder, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync the folder %s: %w", folder, err)
	}
	return nil
}

// acknowledged returns what a mark says now.
func (l *Log) acknowledged() headMark {
	before := l.before.Load() // before the head: it is given up after that was published
	head, _ := l.published.get()
	history := l.History() // after the head: it names its position
	m := headMark{id: history.Log(), head: head, running: true, sectors: &l.sectors}
	for _, start := range history.Starts() {
		if start.First <= head.position {
			m.epochs = append(m.epochs, start)
		}
	}
	if before != nil && before.id == m.id && before.head.position > head.position {
		return *before
	}
	return m
}

// keepHeadMark writes the mark whenever the head has moved.
func (l *Log) keepHeadMark() {
	ticker := time.NewTicker(headMarkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.writeHeadMark()
		case <-l.closing:
			return
		}
	}
}

// writeHeadMark writes the mark if it has changed, but not before an opening has made
// sure of what the last one says. That this fails stops nothing: it is logged once, and
// tried again.
func (l *Log) writeHeadMark() {
	if l.before.Load() != nil {
		return
	}
	l.marking.Lock()
	defer l.marking.Unlock()
	now := l.acknowledged()
	if now.head.position == l.marked && !l.markFails {
		return
	}
	if err := writeHeadMark(l.disk, l.config.Path, now); err != nil {
		if !l.markSaid && l.Err() == nil {
			l.markSaid = true
			l.logger.Warn("the mark of the head was not written: until it is, a damaged end of the log would not be noticed", "error", err)
		}
		l.markFails = true
		return
	}
	l.marked, l.markFails, l.markSaid = now.head.position, false, false
}
