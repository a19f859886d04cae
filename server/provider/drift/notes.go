package drift

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxNotes     = 8
	maxNameBytes = 64
	maxPathSteps = 8
)

// notes collects what a payload lacks or changed. It costs nothing while there
// is nothing to note.
type notes struct {
	path  []step
	texts []string
	more  int
}

// step is one step of a path: a member by its unquoted name, or an element.
type step struct {
	name  []byte
	index int
}

func (n *notes) enter(name []byte)      { n.push(step{name: name}) }
func (n *notes) enterElement(index int) { n.push(step{index: index}) }
func (n *notes) leave()                 { n.path = n.path[:len(n.path)-1] }

func (n *notes) push(s step) {
	if n.path == nil {
		n.path = make([]step, 0, maxPathSteps)
	}
	n.path = append(n.path, s)
}

func (n *notes) add(text string) {
	if len(n.texts) == maxNotes {
		n.more++
		return
	}
	n.texts = append(n.texts, n.where()+": "+text)
}

func (n *notes) addf(format string, args ...any) {
	if len(n.texts) == maxNotes {
		n.more++
		return
	}
	n.add(fmt.Sprintf(format, args...))
}

// addMember notes something of a member of the present object.
func (n *notes) addMember(name []byte, text string) {
	n.enter(name)
	n.add(text)
	n.leave()
}

func (n *notes) where() string {
	if len(n.path) == 0 {
		return "body"
	}
	var b strings.Builder
	for i, s := range n.path {
		switch {
		case i == maxPathSteps:
			b.WriteString("…")
			return b.String()
		case s.name == nil:
			fmt.Fprintf(&b, "[%d]", s.index)
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(printable(s.name))
		}
	}
	return b.String()
}

// printable returns a name as it is if it is short and plain, else cut and
// quoted: names come from outside and can be anything.
func printable(name []byte) string {
	plain := len(name) > 0 && len(name) <= maxNameBytes
	for _, c := range name {
		plain = plain && (c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if plain {
		return string(name)
	}
	if len(name) <= maxNameBytes {
		return strconv.Quote(string(name))
	}
	end := maxNameBytes
	for end > maxNameBytes-utf8.UTFMax && !utf8.RuneStart(name[end]) {
		end--
	}
	return strconv.Quote(string(name[:end])) + "…"
}

// String returns the notes, empty if there are none.
func (n *notes) String() string {
	if len(n.texts) == 0 {
		return ""
	}
	text := strings.Join(n.texts, "; ")
	if n.more > 0 {
		text += fmt.Sprintf("; and %d more", n.more)
	}
	return text
}
