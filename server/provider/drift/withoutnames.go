package drift

import (
	"regexp"
	"strconv"
	"strings"
)

// What a path in notes consists of, see notes.where. A quoted name is found by
// strconv.
var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+`)
	pathMark  = regexp.MustCompile(`^(\[\d+\]|\.|…|\*)`)
	countLeft = regexp.MustCompile(`^and \d+ more$`)
)

// WithoutNames returns notes with `*` for every name that is not known: a sender may
// have put a value where a name is expected. What is no note is `*` as a whole. The result
// is never longer than the notes, and stays what it is when it is given again.
func WithoutNames(notes string, known func(name string) bool) string {
	var b strings.Builder
	for rest := notes; rest != ""; {
		if countLeft.MatchString(rest) {
			b.WriteString(rest)
			break
		}
		var ok bool
		if rest, ok = pathWithoutNames(&b, rest, known); !ok {
			return "*"
		}
		text, more, found := strings.Cut(rest, "; ")
		b.WriteString(text)
		if found {
			b.WriteString("; ")
		}
		rest = more
	}
	return b.String()
}

// pathWithoutNames writes the path that notes begin with, and returns what follows it.
// It reports whether there is a path.
func pathWithoutNames(b *strings.Builder, notes string, known func(name string) bool) (rest string, ok bool) {
	for rest = notes; !strings.HasPrefix(rest, ": "); {
		if mark := pathMark.FindString(rest); mark != "" {
			b.WriteString(mark)
			rest = rest[len(mark):]
			continue
		}
		name := plainName.FindString(rest)
		if name != "" && known(name) {
			b.WriteString(name)
			rest = rest[len(name):]
			continue
		}
		if name == "" {
			var err error
			if name, err = strconv.QuotedPrefix(rest); err != nil {
				return "", false
			}
		}
		b.WriteByte('*')
		rest = rest[len(name):]
	}
	return rest, len(rest) < len(notes)
}
