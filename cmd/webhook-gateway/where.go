package main

import (
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// placesHelp is what the help of a flag says of a place in the log.
const placesHelp = "earliest, latest, today, yesterday, a day (2026-11-24), a time (2026-11-24T15:04:05Z, or 2026-11-24T15:04 of the local clock), or after a cursor"

// A place in the log: one of its fields is set.
type place struct {
	position webhookgatewayv1.StartPosition
	time     time.Time
	cursor   string
}

// A cursor has letters, digits, hyphens and underscores, and far more of them than
// a word. Whether it is one, the gateway decides.
var cursorLike = regexp.MustCompile(`^[A-Za-z0-9_-]{24,}$`)

// parsePlace understands a place as people write it. Days and times without a zone
// are by the local clock of now.
func parsePlace(text string, now time.Time) (place, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "earliest":
		return place{position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}, nil
	case "latest":
		return place{position: webhookgatewayv1.StartPosition_START_POSITION_LATEST}, nil
	case "today":
		return place{time: midnight}, nil
	case "yesterday":
		return place{time: midnight.AddDate(0, 0, -1)}, nil
	}
	for _, layout := range []string{
		time.RFC3339, time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateTime,
	} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return place{time: at}, nil
		}
	}
	if cursorLike.MatchString(text) {
		return place{cursor: text}, nil
	}
	return place{}, usageError{fmt.Errorf("%q is no place in the log: give %s", text, placesHelp)}
}

// parseTime understands a time as people write it, for what has no other places.
func parseTime(flag, text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no limit
	}
	at, err := parsePlace(text, now)
	if err != nil || at.time.IsZero() {
		return nil, usageError{fmt.Errorf("--%s %q is no time: give today, yesterday, a day (2026-11-24) or a time (2026-11-24T15:04:05Z)", flag, text)}
	}
	return timestamppb.New(at.time), nil
}

// startAt returns a place as the start of a subscription.
func startAt(where string) (*webhookgatewayv1.SubscriptionStart, error) {
	at, err := parsePlace(where, time.Now())
	switch {
	case err != nil:
		return nil, err
	case at.cursor != "":
		return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: at.cursor}}, nil
	case !at.time.IsZero():
		return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Time{Time: timestamppb.New(at.time)}}, nil
	}
	return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: at.position}}, nil
}
