package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// spoilable tells what time it is, and how long a write and an fsync take.
const spoilable = `package main

import ("fmt"; "os"; "time")

func main() {
	file, _ := os.Create(os.Args[1])
	began := time.Now()
	_, _ = file.WriteString("a write")
	_ = file.Sync()
	fmt.Print(time.Now().Unix(), time.Since(began).Nanoseconds())
}`

// TestMachine: a program that is built with the overlay has the clock and the disk of its machine; without
// one it has those of this machine.
func TestMachine(t *testing.T) {
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(spoilable), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", "./overlay", dir},
		{"build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, source},
	} {
		if out, err := command(t.Context(), "go", args...); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	run := func(m *machine) (clock time.Duration, disk time.Duration) {
		t.Helper()
		p := &process{name: "program", log: filepath.Join(t.TempDir(), "log"), args: []string{program, filepath.Join(dir, "file")}, machine: m}
		began := time.Now()
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		ended, _ := p.life()
		<-ended
		var seconds, took int64
		if _, err := fmt.Sscan(p.tail(1), &seconds, &took); err != nil {
			t.Fatalf("%q: %v", p.tail(1), err)
		}
		return time.Unix(seconds, 0).Sub(began), time.Duration(took)
	}

	m, err := newMachine(filepath.Join(dir, "machine"))
	if err != nil {
		t.Fatal(err)
	}
	if m.works() {
		t.Error("it works before anything has been started")
	}
	m.jump(-year)
	m.slow(30 * time.Millisecond)
	clock, disk := run(m)
	if clock > -year+day || clock < -year-day {
		t.Errorf("the clock is wrong by %v", clock)
	}
	if disk < 60*time.Millisecond || m.slowed() != 2 || !m.works() {
		t.Errorf("a write and an fsync took %v, and %d were slowed", disk, m.slowed())
	}
	m.jump(0)
	m.slow(0)
	for _, sound := range []*machine{m, nil} {
		if clock, _ := run(sound); clock.Abs() > day || m.slowed() != 2 {
			t.Errorf("a sound machine's clock is wrong by %v, and %d writes were slowed", clock, m.slowed()-2)
		}
	}
}
