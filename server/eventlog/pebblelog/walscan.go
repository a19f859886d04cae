package pebblelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble stops reading a write-ahead log at the first damage. A walScan goes on
// behind it: it looks for the next chunk that is whole. The file is blocks of 32
// KiB, and a block is chunks; none crosses the end of its block. Multi-byte numbers
// are little-endian:
//
//	0:4    checksum of all that follows
//	4:6    length of the payload
//	6      encoding: wire format, and which part of a record the payload is
//	7:11   number of the file, since files are used again
//	11:19  with the newest wire format: the offset up to which the file was synced
//	       payload
const (
	walBlockLen    = 32 << 10
	walRecycledLen = 11
	walSyncLen     = 19
	// sectorLen is how much cannot be read at least, if something cannot be.
	sectorLen = 4 << 10

	// The payload is a whole record, or a part of one. Each wire format has the four;
	// the first of the three is not used for write-ahead logs.
	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4
	chunkKinds  = 4

	// batchHeaderLen is the length of the header of a batch: sequence number, count.
	batchHeaderLen = 12
)

// A walScan reads what can be read of a write-ahead log.
type walScan struct {
	file  vfs.File
	size  int64
	read  int64 // up to where the file was read
	num   uint32
	block []byte // what is left of the block
	at    int64  // the offset of what is left
	buf   [walBlockLen]byte

	record []byte // the parts that were read of a record
	start  int64  // where it began
	partly bool

	// prefix is the end of the last record before the first damage, or of all if there
	// is none.
	prefix int64
	// suspect is the offset of the first bytes that are no chunk, -1 if there are none.
	// They are the end of the file, torn by a crash, unless whole chunks follow:
	// then they are damaged.
	suspect int64
	damaged bool
	ended   bool // a chunk marked the end
	// unreadable is why sectors cannot be read, nil if all can. They count as damage.
	unreadable error
}

func walNumber(name string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not the name of a write-ahead log", filepath.Base(name))
	}
	return uint32(n), nil //nolint:gosec // chunks have the low 32 bits
}

// listWALs returns the paths of the write-ahead logs in a folder, in their order.
func listWALs(disk vfs.FS, folder string) ([]string, error) {
	names, err := disk.List(folder)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	var wals []string
	for _, name := range names {
		if _, err := walNumber(name); isWAL(name) && err == nil {
			wals = append(wals, disk.PathJoin(folder, name))
		}
	}
	slices.Sort(wals) // their numbers have leading zeros
	return wals, nil
}

// scanWAL calls a function with each batch of a write-ahead log that can be read.
// The batch is valid during the call.
func scanWAL(disk vfs.FS, name string, visit func(s *walScan, batch []byte) error) (*walScan, error) {
	num, err := walNumber(name)
	if err != nil {
		return nil, err
	}
	file, err := disk.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open a write-ahead log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open a write-ahead log: %w", err)
	}
	s := &walScan{file: file, size: info.Size(), num: num, suspect: -1}
	for {
		batch, err := s.next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return s, fmt.Errorf("read the write-ahead log %s: %w", filepath.Base(name), err)
		}
		if err := visit(s, batch); err != nil {
			return s, err
		}
	}
}

// next returns the next batch that can be read.
func (s *walScan) next() ([]byte, error) {
	for {
		payload, kind, err := s.chunk()
		if err != nil {
			return nil, err
		}
		switch {
		case kind == chunkFull, kind == chunkFirst:
			if s.partly {
				s.suspected(s.start)
			}
			s.start = s.at - int64(len(payload))
			s.record = append(s.record[:0], payload...)
			s.partly = kind == chunkFirst
		case s.partly:
			s.record = append(s.record, payload...)
			s.partly = kind != chunkLast
		default:
			continue // the rest of a record whose beginning is damaged
		}
		if s.partly {
			continue
		}
		s.damaged = s.suspect >= 0 // whole records follow what is none
		if !s.damaged {
			s.prefix = s.at
		}
		if len(s.record) < batchHeaderLen {
			s.suspected(s.start)
			continue
		}
		if binary.LittleEndian.Uint32(s.record[8:]) == 0 {
			continue // it only synced the file
		}
		return s.record, nil
	}
}

// suspected takes note of bytes that are no chunk.
func (s *walScan) suspected(offset int64) {
	if s.suspect < 0 {
		s.suspect = offset
	}
	s.partly = false
}

// chunk returns the payload of the next whole chunk, and which part of a record it
// is.
func (s *walScan) chunk() ([]byte, int, error) {
	for {
		headerLen, kind := 0, 0
		if len(s.block) >= walRecycledLen {
			headerLen, kind = chunkHeader(s.block[6])
		}
		switch {
		case s.ended:
			return nil, 0, io.EOF
		case len(s.block) < walSyncLen && len(bytes.Trim(s.block, "\x00")) == 0: // no room for a chunk
			if err := s.fill(); err != nil {
				return nil, 0, err
			}
			continue
		case kind == chunkFull && s.isEnd():
			s.ended = true
			continue
		case kind != 0 && len(s.block) >= headerLen && binary.LittleEndian.Uint32(s.block[7:]) == s.num:
			end := headerLen + int(binary.LittleEndian.Uint16(s.block[4:]))
			if end <= len(s.block) && pebbleChecksum(s.block[6:end]) == binary.LittleEndian.Uint32(s.block) {
				payload := s.block[headerLen:end]
				s.skip(end)
				return payload, kind, nil
			}
		}
		s.suspected(s.at)
		s.resync()
	}
}

// isEnd reports whether a chunk marks the end: it has the number of the next file,
// nothing in it, and no checksum. What follows it is of an earlier use of the file.
func (s *walScan) isEnd() bool {
	return binary.LittleEndian.Uint32(s.block) == 0 && binary.LittleEndian.Uint16(s.block[4:]) == 0 &&
		binary.LittleEndian.Uint32(s.block[7:]) == s.num+1
}

// resync moves to the next place in the block where a chunk may begin.
func (s *walScan) resync() {
	for i := 1; i+walRecycledLen <= len(s.block); i++ {
		if binary.LittleEndian.Uint32(s.block[i+7:]) != s.num {
			continue
		}
		if _, kind := chunkHeader(s.block[i+6]); kind != 0 {
			s.skip(i)
			return
		}
	}
	s.skip(len(s.block))
}

// chunkHeader returns the length of the header of a chunk and its kind, 0 for what is
// no chunk.
func chunkHeader(encoding byte) (length, kind int) {
	switch n := int(encoding); {
	case n > chunkKinds && n <= 2*chunkKinds:
		return walRecycledLen, n - chunkKinds
	case n > 2*chunkKinds && n <= 3*chunkKinds:
		return walSyncLen, n - 2*chunkKinds
	}
	return 0, 0
}

func (s *walScan) skip(n int) {
	s.block = s.block[n:]
	s.at += int64(n)
}

// fill reads the next block.
func (s *walScan) fill() error {
	s.skip(len(s.block))
	n := min(int64(walBlockLen), s.size-s.read)
	if n <= 0 {
		if s.partly {
			s.suspected(s.start)
		}
		return io.EOF
	}
	block := s.buf[:n]
	if err := readAt(s.file, block, s.read); errors.Is(err, syscall.EIO) {
		s.unreadable = err
		for len(block) > 0 {
			part := block[:min(len(block), sectorLen)]
			if readAt(s.file, part, s.read+n-int64(len(block))) != nil {
				clear(part)
			}
			block = block[len(part):]
		}
	} else if err != nil {
		return err
	}
	s.read += n
	s.block = s.buf[:n]
	return nil
}

func readAt(file vfs.File, p []byte, offset int64) error {
	n, err := file.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	return err
}

// parseBatch calls a function with each pair that a batch sets. What it deletes is
// left out.
func parseBatch(repr []byte, set func(key, value []byte) error) error {
	var batch pebble.Batch
	if err := batch.SetRepr(bytes.Clone(repr)); err != nil {
		return fmt.Errorf("read a batch: %w", err)
	}
	reader := batch.Reader()
	for {
		kind, key, value, ok, err := reader.Next()
		if err != nil {
			return fmt.Errorf("read a batch: %w", err)
		}
		if !ok {
			return nil
		}
		if kind == pebble.InternalKeyKindSet {
			if err := set(key, value); err != nil {
				return err
			}
		}
	}
}
