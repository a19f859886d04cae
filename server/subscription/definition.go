package subscription

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/unknownfields"
)

// definition is what the operator gave. It never changes: an update replaces it.
type definition struct {
	// asked has name, filters and start as they were asked for, settings with
	// defaults, and create time.
	asked    *webhookgatewayv1.Subscription
	settings settings
	filter   *filter.Filter
}

// define checks a subscription. Its errors are of fielderr, with paths that begin
// with `subscription`.
func define(in *webhookgatewayv1.Subscription) (definition, error) {
	if err := checkKnown(in); err != nil {
		return definition{}, fielderr.In("subscription", err)
	}
	settings, settingsErr := parseSettings(in.GetSettings())
	compiled, filtersErr := filter.Compile(in.GetFilters())
	if err := errors.Join(checkName(in.GetName()), filtersErr, settingsErr, checkStart(in.GetStart())); err != nil {
		return definition{}, fielderr.In("subscription", err)
	}
	return definition{
		asked: &webhookgatewayv1.Subscription{
			Name:       in.GetName(),
			Filters:    in.GetFilters(),
			Settings:   settings.proto(),
			CreateTime: in.GetCreateTime(),
			Start:      in.GetStart(),
		},
		settings: settings,
		filter:   compiled,
	}, nil
}

// checkKnown refuses a subscription of a later version that says more than this version of the
// gateway knows: it would run another subscription, and forget the rest at the next update. What
// the status says does not matter.
func checkKnown(in *webhookgatewayv1.Subscription) error {
	given := &webhookgatewayv1.Subscription{Filters: in.GetFilters(), Settings: in.GetSettings(), Start: in.GetStart()}
	given.ProtoReflect().SetUnknown(in.ProtoReflect().GetUnknown())
	if err := unknownfields.Check(given); err != nil {
		return fielderr.New("", "%v: leave it out, or upgrade all gateways", err)
	}
	return nil
}

// describe returns the subscription as the gateway understands it.
func (d definition) describe() *webhookgatewayv1.Subscription {
	return &webhookgatewayv1.Subscription{
		Name:       d.asked.GetName(),
		Filters:    d.filter.Normal(),
		Settings:   d.settings.proto(),
		CreateTime: d.asked.GetCreateTime(),
		Start:      d.asked.GetStart(),
	}
}

// ValidName reports whether a subscription can have a name.
func ValidName(name string) bool { return checkName(name) == nil }

func checkName(name string) error {
	const allowed = "1 to 64 characters of a-z, 0-9, '-', '_' and '.', beginning with a letter"
	if name == "" || len(name) > eventlog.MaxScopeLen {
		return fielderr.New("name", "%d characters are given: give %s", len(name), allowed)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '.') {
			return fielderr.New("name", "%q is given: give %s", name, allowed)
		}
	}
	return nil
}

func checkStart(start *webhookgatewayv1.SubscriptionStart) error {
	if start != nil && start.GetStart() == nil {
		return fielderr.New("start", "give a cursor, a time or a position, or leave it out for the newest event")
	}
	if at, ok := start.GetStart().(*webhookgatewayv1.SubscriptionStart_Position); ok {
		return CheckPosition("start.position", at.Position)
	}
	return nil
}

// CheckPosition refuses what is no end of the log. Its errors are of fielderr.
func CheckPosition(field string, p webhookgatewayv1.StartPosition) error {
	switch p {
	case webhookgatewayv1.StartPosition_START_POSITION_EARLIEST, webhookgatewayv1.StartPosition_START_POSITION_LATEST:
		return nil
	case webhookgatewayv1.StartPosition_START_POSITION_UNSPECIFIED:
	}
	return fielderr.New(field, "give START_POSITION_EARLIEST or START_POSITION_LATEST")
}

// startsAlike reports whether two starts, as they were asked for, are the same.
func startsAlike(a, b *webhookgatewayv1.SubscriptionStart) bool {
	return atHead(a) && atHead(b) || proto.Equal(a, b)
}

func atHead(start *webhookgatewayv1.SubscriptionStart) bool {
	if start == nil {
		return true
	}
	at, ok := start.GetStart().(*webhookgatewayv1.SubscriptionStart_Position)
	return ok && at.Position == webhookgatewayv1.StartPosition_START_POSITION_LATEST
}

func filtersAlike(a, b definition) bool {
	return slices.EqualFunc(a.filter.Normal(), b.filter.Normal(), func(a, b *webhookgatewayv1.EventFilter) bool { return proto.Equal(a, b) })
}

// differences returns which fields of two subscriptions differ, sorted.
func differences(a, b definition) []string {
	var fields []string
	if !filtersAlike(a, b) {
		fields = append(fields, "filters")
	}
	x, y := a.settings.proto().ProtoReflect(), b.settings.proto().ProtoReflect()
	for _, f := range settingsFields() {
		if !x.Get(f).Equal(y.Get(f)) {
			fields = append(fields, "settings."+string(f.Name()))
		}
	}
	if !startsAlike(a.asked.GetStart(), b.asked.GetStart()) {
		fields = append(fields, "start")
	}
	slices.Sort(fields)
	return fields
}

func settingsFields() []protoreflect.FieldDescriptor {
	all := (&webhookgatewayv1.SubscriptionSettings{}).ProtoReflect().Descriptor().Fields()
	fields := make([]protoreflect.FieldDescriptor, all.Len())
	for i := range fields {
		fields[i] = all.Get(i)
	}
	return fields
}

// setOnce are the fields that no update changes: a subscription that was read can
// be written back.
var setOnce = []string{"name", "status", "create_time", "start"}

// snakeCase returns the path of a mask as protobuf writes it: in JSON and in a query
// it may be in camel case.
func snakeCase(path string) string {
	var b strings.Builder
	for _, r := range path {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// update returns the definition with what a mask names replaced. What the mask
// names and the subscription does not set gets its default. Without a mask it is
// what the subscription sets.
func (d definition) update(in *webhookgatewayv1.Subscription, mask *fieldmaskpb.FieldMask) (definition, error) {
	if err := checkKnown(in); err != nil {
		return definition{}, fielderr.In("subscription", err)
	}
	next, ok := proto.Clone(d.asked).(*webhookgatewayv1.Subscription)
	if !ok {
		return definition{}, errors.New("clone the subscription")
	}
	from, to := in.GetSettings().ProtoReflect(), next.GetSettings().ProtoReflect()
	var errs []error
	for i, path := range updatePaths(in, mask) {
		path = snakeCase(path)
		switch path {
		case "*":
			next.Filters, next.Settings = in.GetFilters(), in.GetSettings()
			to = next.GetSettings().ProtoReflect()
		case "filters":
			next.Filters = in.GetFilters()
		case "settings":
			next.Settings = in.GetSettings()
			to = next.GetSettings().ProtoReflect()
		default:
			if whole, _, _ := strings.Cut(path, "."); slices.Contains(setOnce, whole) {
				continue
			}
			name, isSetting := strings.CutPrefix(path, "settings.")
			field := from.Descriptor().Fields().ByName(protoreflect.Name(name))
			switch {
			case !isSetting || field == nil:
				errs = append(errs, fielderr.New(fmt.Sprintf("update_mask.paths[%d]", i),
					"%q is nothing that can be updated: give filters, settings, or a setting such as settings.ack_deadline", path))
			case from.Has(field):
				if next.Settings == nil {
					next.Settings = &webhookgatewayv1.SubscriptionSettings{}
					to = next.GetSettings().ProtoReflect()
				}
				to.Set(field, from.Get(field))
			case next.GetSettings() != nil:
				to.Clear(field)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return definition{}, err
	}
	// As in a new subscription: a longer min_backoff raises a max_backoff that nobody
	// gave with it.
	if s := next.GetSettings(); !in.GetSettings().ProtoReflect().Has(maxBackoffField) && s.GetMaxBackoff() != nil &&
		s.GetMinBackoff().AsDuration() > s.GetMaxBackoff().AsDuration() {
		s.MaxBackoff = s.GetMinBackoff()
	}
	return define(next)
}

var maxBackoffField = (&webhookgatewayv1.SubscriptionSettings{}).ProtoReflect().Descriptor().Fields().ByName("max_backoff")

func updatePaths(in *webhookgatewayv1.Subscription, mask *fieldmaskpb.FieldMask) []string {
	if len(mask.GetPaths()) > 0 {
		return mask.GetPaths()
	}
	var paths []string
	if len(in.GetFilters()) > 0 {
		paths = append(paths, "filters")
	}
	for _, f := range settingsFields() {
		if in.GetSettings().ProtoReflect().Has(f) {
			paths = append(paths, "settings."+string(f.Name()))
		}
	}
	return paths
}

// The definition of a subscription is a pair of its scope: version, key of its
// seal, and the subscription as protobuf.
const (
	keyDefinition     = "d"
	definitionVersion = 2
)

func (d definition) encode(key sealKey) (eventlog.StateMutation, error) {
	value := append([]byte{definitionVersion}, key[:]...)
	value, err := proto.MarshalOptions{}.MarshalAppend(value, d.asked)
	if err != nil {
		return eventlog.StateMutation{}, fmt.Errorf("encode the definition: %w", err)
	}
	return eventlog.StateMutation{Key: []byte(keyDefinition), Value: value}, nil
}

// decodeDefinition returns an error for people if the definition cannot be used.
func decodeDefinition(name string, value []byte) (definition, sealKey, error) {
	var key sealKey
	if len(value) == 0 || value[0] != definitionVersion {
		return definition{}, key, errors.New("its definition was written by another version of the gateway")
	}
	value = value[1:]
	in := &webhookgatewayv1.Subscription{}
	if len(value) < len(key) {
		return definition{}, key, errors.New("its definition is truncated")
	}
	if err := proto.Unmarshal(value[copy(key[:], value):], in); err != nil {
		return definition{}, key, fmt.Errorf("its definition is malformed: %w", err)
	}
	def, err := define(in)
	if err != nil {
		return definition{}, key, fmt.Errorf("its definition is not valid for this version of the gateway: %w", err)
	}
	if in.GetName() != name {
		return definition{}, key, fmt.Errorf("its definition is that of %s", in.GetName())
	}
	return def, key, nil
}
