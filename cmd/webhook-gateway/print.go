package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// printer prints an event, with which attempt to deliver it this is.
type printer interface {
	write(w io.Writer, event *webhookgatewayv1.Event, attempt int32) error
}

// jsonPrinter prints one line of JSON, as the REST mirror has it.
type jsonPrinter struct{}

func (jsonPrinter) write(w io.Writer, event *webhookgatewayv1.Event, _ int32) error {
	return printMessage(w, event)
}

// printMessage prints a message as one line of JSON.
func printMessage(w io.Writer, message proto.Message) error {
	text, err := rest.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// printMessages prints one JSON object for each message.
func printMessages[M proto.Message](w io.Writer, list []M) error {
	for _, one := range list {
		if err := printMessage(w, one); err != nil {
			return err
		}
	}
	return nil
}

// humanPrinter prints one line for people.
type humanPrinter struct {
	// Raw: the body on a line of its own.
	raw bool
	// WithID: the id of the event comes first.
	withID bool
	painter
}

// timeLayout is how people read a time of their clock.
const timeLayout = "2006-01-02 15:04:05.000"

func (p humanPrinter) write(w io.Writer, event *webhookgatewayv1.Event, attempt int32) error {
	line := fmt.Sprintf("%s  %s  %s  %-12s",
		p.paint(dim, event.GetReceiveTime().AsTime().Local().Format(timeLayout)),
		p.paint(cyan, fmt.Sprintf("%-8s", providerName(event))), p.paint(green, fmt.Sprintf("%-23s", typeName(event))),
		visible(event.GetClientId()))
	if p.withID {
		line = event.GetId() + "  " + line
	}
	if text := summary(event); text != "" {
		line += "  " + text
	}
	marks := marks(event)
	if attempt > 1 {
		marks = append(marks, mark{yellow, fmt.Sprintf("[ATTEMPT %d]", attempt)})
	}
	words := []string{line}
	for _, m := range marks {
		words = append(words, p.paint(m.color, m.text))
	}
	line = strings.TrimRight(strings.Join(words, " "), " ") + "\n"
	if p.raw {
		line += "    " + strings.Map(printable, string(event.GetRawBody())) + "\n"
	}
	_, err := io.WriteString(w, line)
	return err
}

func providerName(event *webhookgatewayv1.Event) string {
	return strings.ToLower(strings.TrimPrefix(event.GetProvider().String(), "PROVIDER_"))
}

func typeName(event *webhookgatewayv1.Event) string {
	if event.GetTypeName() == "" {
		return "(no type)"
	}
	return visible(event.GetTypeName())
}

// summary says what is in the payload, without account numbers and login names.
func summary(event *webhookgatewayv1.Event) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if subject := event.GetSubject(); subject != "" {
		add("subject=%s", visible(subject))
	}
	switch payload := event.GetPayload().(type) {
	case *webhookgatewayv1.Event_Finicity:
		words = append(words, scalars(payload.Finicity.ProtoReflect())...)
	case *webhookgatewayv1.Event_Vezgo:
		if name := payload.Vezgo.GetAccount().GetProvider(); name != "" {
			add("account=%s", visible(name))
		}
		if id := payload.Vezgo.GetAccount().GetId(); id != "" {
			add("account_id=%s", visible(id))
		}
		words = append(words, scalars(payload.Vezgo.ProtoReflect())...)
	}
	return strings.Join(words, " ")
}

// A mark says what is not as it should be.
type mark struct {
	color color
	text  string
}

// marks say what is wrong with an event.
func marks(event *webhookgatewayv1.Event) []mark {
	var list []mark
	add := func(c color, format string, args ...any) { list = append(list, mark{c, fmt.Sprintf(format, args...)}) }
	switch v := event.GetVerification(); v.GetVerdict() {
	case webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED:
	case webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED:
		add(yellow, "[NOT CHECKED]")
	default:
		failure := strings.TrimPrefix(v.GetFailure().String(), "VERIFICATION_FAILURE_")
		add(red, "[UNVERIFIED: %s]", strings.ToLower(strings.ReplaceAll(failure, "_", " ")))
	}
	if event.GetEventIdConflict() {
		add(red, "[CONFLICT: the event id was used before with another body]")
	}
	if drift := event.GetDecodeError(); drift != "" {
		add(yellow, "[DRIFT: %s]", clean(drift))
	}
	return list
}

// scalars returns the single values of the message that is set in the oneof
// `event`, and how long its lists are. It does not look into nested messages,
// which is where account numbers are.
func scalars(payload protoreflect.Message) []string {
	oneof := payload.Descriptor().Oneofs().ByName("event")
	set := payload.WhichOneof(oneof)
	if set == nil {
		return nil
	}
	var words []string
	event := payload.Get(set).Message()
	fields := event.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !event.Has(f) {
			continue
		}
		switch {
		case f.IsList():
			words = append(words, fmt.Sprintf("%s=%d", f.Name(), event.Get(f).List().Len()))
		case f.Message() != nil:
			words = append(words, fmt.Sprintf("%s={…}", f.Name()))
		case f.Kind() != protoreflect.EnumKind: // its name is beside it
			words = append(words, fmt.Sprintf("%s=%s", f.Name(), visible(event.Get(f).String())))
		}
	}
	return words
}

// visible quotes a text from outside that would not print as one word, so that
// nothing in it reaches the terminal as a command.
func visible(text string) string {
	quoted := strconv.Quote(text)
	if len(quoted) == len(text)+2 && !strings.ContainsAny(text, " =[]") {
		return text
	}
	return quoted
}

func clean(text string) string { return strings.Map(printable, text) }

func printable(r rune) rune {
	if strconv.IsPrint(r) {
		return r
	}
	return '·'
}

// elapsed is a duration as people read it.
func elapsed(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
