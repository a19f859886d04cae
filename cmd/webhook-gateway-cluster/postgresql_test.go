package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
)

// TestPostgreSQLSaysWhatItDoes: each step is said before it is done, so that who waits knows for what.
// Here the first one is given up at once.
func TestPostgreSQLSaysWhatItDoes(t *testing.T) {
	if _, err := postgresProgram("initdb"); err != nil {
		t.Skip(err)
	}
	dir, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e, err := newPostgreSQL(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.stop)
	ctx, end := context.WithCancel(t.Context())
	end()
	var said []string
	err = e.start(ctx, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if want := []string{"p1, the primary, gets an empty database (initdb), and is started"}; !errors.Is(err, context.Canceled) || !slices.Equal(said, want) {
		t.Errorf("start() = %v, and says %q, want that it was given up and %q", err, said, want)
	}
}
