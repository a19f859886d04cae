package main

import (
	"context"
	"encoding/binary"
	"os"
	"time"
)

// A machine is what a process believes to run on: its clock and its disk can be spoiled while it
// runs, if it was built with the standard library that overlay/ makes. The file is its memory, which it
// shares with the process; overlay/machine.go.txt says what is where.
type machine struct{ file *os.File }

const (
	clockAt, diskAt, slowedAt, startedAt, machineSize = 0, 8, 16, 24, 32
	// machineEnv names the file to the process.
	machineEnv = "LAB_MACHINE"
)

func newMachine(path string) (*machine, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // in a folder of our own
	if err != nil {
		return nil, err
	}
	return &machine{file}, file.Truncate(machineSize)
}

func (m *machine) set(at int64, value int64) {
	if _, err := m.file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(value)), at); err != nil { //nolint:gosec // read as an int64
		panic(err) // a file of our own, which is open
	}
}

func (m *machine) get(at int64) int64 {
	var value [8]byte
	if _, err := m.file.ReadAt(value[:], at); err != nil {
		panic(err) // as above
	}
	return int64(binary.NativeEndian.Uint64(value[:])) //nolint:gosec // written from an int64
}

// jump makes the clock wrong. What has been waited for is not: that goes by another clock.
func (m *machine) jump(by time.Duration) { m.set(clockAt, int64(by/time.Second)) }

// slow makes each write to a file, and each fsync, take longer.
func (m *machine) slow(by time.Duration) { m.set(diskAt, int64(by)) }

// slowed counts the writes that took longer.
func (m *machine) slowed() int64 { return m.get(slowedAt) }

// works reports whether a process has been started that can be spoiled.
func (m *machine) works() bool { return m.get(startedAt) > 0 }

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// wrong is by how much a clock is wrong: behind by any time, a little ahead, or so far ahead that no
// gateway believes it. Left out is what lies between: a gateway believes that it was off so long, and
// what is to be kept for a minute is then old, and removed, as it should be.
func (l *lab) wrong() time.Duration {
	switch l.random(4) {
	case 0:
		return -time.Duration(1+l.random(20)) * time.Second
	case 1:
		return -time.Duration(1 + l.random(int(10*year)))
	case 2:
		return time.Duration(1+l.random(20)) * time.Second
	default:
		return 8*day + time.Duration(l.random(int(10*year)))
	}
}

// slowDisks slows disks down: from what a busy one takes to what one takes that fails.
func (l *lab) slowDisks(which ...*process) (mend func()) {
	by := time.Duration(10+l.random(290)) * time.Millisecond
	for _, p := range which {
		p.machine.slow(by)
	}
	return func() {
		for _, p := range which {
			p.machine.slow(0)
			l.note("each write of %s took %v longer, %d so far", p.name, by, p.machine.slowed())
		}
	}
}

// wrongClocks makes clocks jump. Mended, they jump back.
func (l *lab) wrongClocks(which ...*process) (mend func()) {
	for _, p := range which {
		by := l.wrong()
		l.note("the clock of %s is wrong by %v", p.name, by.Round(time.Second))
		p.machine.jump(by)
	}
	return func() {
		for _, p := range which {
			p.machine.jump(0)
		}
	}
}

// spoilt is the fault that machines are spoiled for a while.
func (l *lab) spoilt(name string, longest time.Duration, spoil func(which ...*process) (mend func()), which func(ctx context.Context) []*process) fault {
	return fault{name: name, spoils: true, run: func(ctx context.Context) error {
		mend := spoil(which(ctx)...)
		defer mend()
		return l.hold(ctx, longest)
	}}
}
