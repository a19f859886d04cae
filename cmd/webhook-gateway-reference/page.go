package main

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A page is the text about a proto file, and what went wrong with it first.
type page struct {
	bytes.Buffer

	calls map[protoreflect.FullName][]string
	err   error
}

func (p *page) printf(format string, args ...any) {
	fmt.Fprintf(p, format, args...)
}

// fail keeps the first error.
func (p *page) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *page) file(file protoreflect.FileDescriptor) {
	title := path.Base(file.Path())
	reasons := file.Enums().ByName(webhookgatewayv1.ErrorReason(0).Descriptor().Name())
	switch services := file.Services(); {
	case services.Len() == 1:
		title = string(services.Get(0).Name())
	case reasons != nil:
		title = "Errors"
	}
	p.printf("<!-- Generated from proto/%s by make generate. Do not edit. -->\n# %s\n\n", file.Path(), title)
	p.printf("For those who write clients: this is what [%s](../../proto/%s) says. The package is `%s`.\n\n", path.Base(file.Path()), file.Path(), file.Package())
	p.printf("%s\n", p.comment("the file", file.SourceLocations().ByPath(protoreflect.SourcePath{syntaxField}).LeadingComments, ""))
	for i := range file.Services().Len() {
		p.service(file.Services().Get(i))
	}
	if reasons != nil {
		p.reasons(reasons)
		return
	}
	p.messages(file.Messages())
	p.enums(file.Enums())
}

// syntaxField is the number of FileDescriptorProto.syntax, before which the comment on a
// file stands.
const syntaxField = 12

// comment returns the comment on what is named, each line indented. There is always one.
func (p *page) comment(on, text, indent string) string {
	if strings.TrimSpace(text) == "" {
		p.fail(fmt.Errorf("there is no comment on %s", on))
	}
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line = strings.TrimPrefix(strings.TrimRight(line, " "), " "); strings.HasPrefix(line, "  ") {
			line = "    " + strings.TrimSpace(line) // what is laid out
		}
		if i > 0 && line != "" {
			line = indent + line
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

func (p *page) commentOn(d protoreflect.Descriptor, indent string) string {
	return p.comment(string(d.FullName()), d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments, indent)
}

func (p *page) service(service protoreflect.ServiceDescriptor) {
	p.printf("## Calls\n\n%s\n", p.commentOn(service, ""))
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		answer := p.link(method, method.Output())
		if method.IsStreamingServer() {
			answer = "a stream of " + answer
		}
		p.printf("### %s\n\n%s → %s", method.Name(), p.link(method, method.Input()), answer)
		calls := p.calls[method.FullName()]
		if len(calls) == 0 {
			p.fail(fmt.Errorf("no OpenAPI document has %s", method.FullName()))
		}
		p.printf(". Over HTTP `%s`.\n\n%s\n", strings.Join(calls, "`, `"), p.commentOn(method, ""))
	}
}

func (p *page) messages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		message := messages.Get(i)
		if message.IsMapEntry() {
			continue
		}
		p.printf("## %s\n\n%s\n", p.name(message), p.commentOn(message, ""))
		for j := range message.Fields().Len() {
			field, indent := message.Fields().Get(j), ""
			if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
				if indent = "  "; oneof.Fields().Get(0) == field {
					p.printf("- One of `%s`: %s", oneof.Name(), p.commentOn(oneof, "  "))
				}
			}
			p.printf("%s- `%s` (%s): %s", indent, field.Name(), p.kind(field), p.commentOn(field, indent+"  "))
		}
		p.printf("\n")
		p.messages(message.Messages())
		p.enums(message.Enums())
	}
}

func (p *page) enums(enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		enum := enums.Get(i)
		p.printf("## %s\n\n%s\n", p.name(enum), p.commentOn(enum, ""))
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			p.printf("- `%s` = %d: %s", value.Name(), value.Number(), p.commentOn(value, "  "))
		}
		p.printf("\n")
	}
}

// name returns the name of a type within its package.
func (p *page) name(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

// kind returns what a field is: its type, how many, and the class that readers may be
// kept from.
func (p *page) kind(field protoreflect.FieldDescriptor) string {
	if field.IsMap() {
		return fmt.Sprintf("map of `%s` to %s", field.MapKey().Kind(), p.kind(field.MapValue()))
	}
	kind := "`" + field.Kind().String() + "`"
	switch {
	case field.Message() != nil:
		kind = p.link(field, field.Message())
	case field.Enum() != nil:
		kind = p.link(field, field.Enum())
	}
	switch {
	case field.IsList():
		kind = "repeated " + kind
	case field.HasOptionalKeyword():
		kind = "optional " + kind
	}
	class, _ := proto.GetExtension(field.Options(), sensitivityv1.E_Sensitivity).(sensitivityv1.Sensitivity)
	if class > sensitivityv1.Sensitivity_SENSITIVITY_NONE {
		kind += fmt.Sprintf(", masked as [`%s`](../redaction.md)", strings.ToLower(strings.TrimPrefix(class.String(), "SENSITIVITY_")))
	}
	return kind
}

// link returns the name of a type, as a link if it has a place in these pages.
func (p *page) link(from, to protoreflect.Descriptor) string {
	if strings.HasPrefix(string(to.FullName()), "google.") {
		return "`" + string(to.FullName()) + "`"
	}
	where := "#" + strings.ToLower(strings.ReplaceAll(p.name(to), ".", ""))
	if to.FullName() == webhookgatewayv1.ErrorReason(0).Descriptor().FullName() {
		where = "#errors" // its page has a heading for each reason, and none for all
	}
	if file := to.ParentFile().Path(); file != from.ParentFile().Path() {
		where = pageName(file) + where
	}
	return fmt.Sprintf("[%s](%s)", p.name(to), where)
}
