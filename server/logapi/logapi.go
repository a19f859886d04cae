// Package logapi is what calls on the event log have in common, whichever service
// they are of: cursors, times, views and pages in requests, and the errors of the
// log as statuses.
package logapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// API is the event log as the services see it.
type API struct {
	Log    eventlog.Log
	Logger *slog.Logger
}

// Cursor returns the cursor of a position.
func (a API) Cursor(p eventlog.Position) string { return a.Log.History().FormatCursor(p) }

// EventID returns the id of the event at a position.
func (a API) EventID(p eventlog.Position) string { return a.Log.History().FormatEventID(p) }

// syncTimeout bounds the wait for the end of a log that gateways share.
const syncTimeout = 5 * time.Second

// Sync returns when everything can be read that anybody had appended before the call: see
// eventlog.Log. It comes before an answer that would be wrong without. Its errors are
// statuses.
func (a API) Sync(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	switch err := a.Log.Sync(bounded); {
	case err == nil:
		return nil
	case errors.Is(err, eventlog.ErrClosed), ctx.Err() != nil:
		return a.Fail(ctx, "reach the end of the log", err)
	}
	return unavailable()
}

// position parses a name of a position, which may be one that this gateway has not read
// yet.
func (a API) position(ctx context.Context, parse func(*eventlog.History) (eventlog.Position, error)) (eventlog.Position, error) {
	p, err := parse(a.Log.History())
	if err == nil && p <= a.Log.Bounds().Head || err != nil && !errors.As(err, new(*eventlog.HistoryLostError)) {
		return p, err
	}
	if err := a.Sync(ctx); err != nil {
		return 0, err
	}
	return parse(a.Log.History())
}

// ParseCursor returns the position of a cursor of this log, at most its head. The
// field is the one that the cursor was given in. Its errors are statuses.
func (a API) ParseCursor(ctx context.Context, field, cursor string) (eventlog.Position, error) {
	p, err := a.position(ctx, func(h *eventlog.History) (eventlog.Position, error) { return h.ParseCursor(cursor) })
	if err != nil {
		return 0, a.badToken(field, err)
	}
	if head := a.Log.Bounds().Head; p > head {
		if a.Log.Err() != nil { // what it cannot read at present may have it
			return 0, unavailable()
		}
		return 0, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_AHEAD,
			"the cursor is ahead of the head of the log: start at head_cursor or at a time instead",
			rpcerr.WithMetadata("field", field), rpcerr.WithMetadata("head_cursor", a.Cursor(head)))
	}
	return p, nil
}

// Renamed returns the status for a cursor that a history does not have, nil if it does.
func (a API) Renamed(field string, history *eventlog.History, cursor string) error {
	if _, err := history.ParseCursor(cursor); err != nil {
		return a.badToken(field, err)
	}
	return nil
}

// ErrForeignEvent is returned by ParseEventID for an event of another log.
var ErrForeignEvent = errors.New("the event is of another log")

// ParseEventID returns the position that the id of an event names. Its errors are
// ErrForeignEvent, of fielderr, and statuses.
func (a API) ParseEventID(ctx context.Context, field, id string) (eventlog.Position, error) {
	p, err := a.position(ctx, func(h *eventlog.History) (eventlog.Position, error) { return h.ParseEventID(id) })
	switch {
	case errors.Is(err, eventlog.ErrMalformed):
		return 0, fielderr.New(field, "it is not the id of an event: pass it exactly as it was received")
	case errors.Is(err, eventlog.ErrAnotherLog):
		return 0, ErrForeignEvent
	case err != nil:
		return 0, a.badToken(field, err)
	case p > a.Log.Bounds().Head && a.Log.Err() != nil: // as above
		return 0, unavailable()
	}
	return p, nil
}

// ReadEvent calls a function with the event of an id, and returns its error. The record is
// valid only in it. Other errors are those of ParseEventID, of the log, and a status if there
// is no such event.
func (a API) ReadEvent(ctx context.Context, field, id string, f func(eventlog.Record) error) error {
	position, err := a.ParseEventID(ctx, field, id)
	if errors.Is(err, ErrForeignEvent) {
		return errNoEvent()
	}
	if err != nil {
		return err
	}
	if bounds := a.Log.Bounds(); position <= bounds.Trimmed || position > bounds.Head {
		return errNoEvent()
	}
	for r, err := range a.Log.Read(ctx, position-1) {
		if errors.As(err, new(*eventlog.TrimmedError)) {
			break
		}
		if err != nil {
			return err
		}
		return f(r)
	}
	return errNoEvent()
}

func errNoEvent() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_NOT_FOUND,
		"there is no event with this id in this log, or it is no longer retained")
}

// badToken is the status for a cursor or an id that names no position.
func (a API) badToken(field string, err error) error {
	in := rpcerr.WithMetadata("field", field)
	if failed := rpcerr.From(err, nil); failed != nil {
		return failed
	}
	var lost *eventlog.HistoryLostError
	switch {
	case errors.As(err, &lost):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_HISTORY_LOST,
			"what came after last_cursor was lost, or has other cursors since: resume at last_cursor, or start at a time",
			in, rpcerr.WithMetadata("last_cursor", a.Cursor(max(lost.Last, a.Log.Bounds().Trimmed))))
	case errors.Is(err, eventlog.ErrAnotherLog):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_OF_ANOTHER_LOG,
			"the cursor belongs to another log: start at a time or at an end of the log instead",
			in, rpcerr.WithMetadata("log", a.Log.ID().String()))
	}
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED,
		"the cursor is not one that a gateway gave out: pass it exactly as it was received", in)
}

// Fail turns an error of the log into the status of a call, and logs what only
// the operator can mend. What it does not know comes from the log by its
// contract, and means that the log cannot do it at present.
func (a API) Fail(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return rpcerr.Ended(ctx.Err())
	}
	var (
		trimmed *eventlog.TrimmedError
		damaged *eventlog.DamagedError
	)
	switch {
	case errors.As(err, &trimmed):
		return a.Expired(ctx, trimmed.Trimmed)
	case errors.As(err, &damaged):
		a.Logger.ErrorContext(ctx, "an event is damaged", "doing", doing, "error", err)
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_DAMAGED,
			"an event is damaged on the disk: start at to_cursor; a stream with on_expired EXPIRED_POLICY_EARLIEST goes on there by itself",
			rpcerr.WithMetadata("from_cursor", a.Cursor(damaged.After)), rpcerr.WithMetadata("to_cursor", a.Cursor(damaged.UpTo)))
	case errors.Is(err, eventlog.ErrClosed):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
			"the gateway is shutting down: reconnect and resume at the last cursor")
	}
	otherwise := unavailable()
	failed := rpcerr.From(err, otherwise)
	if failed == otherwise { //nolint:errorlint // the very one
		a.Logger.ErrorContext(ctx, "the event log cannot be used", "doing", doing, "error", err)
	}
	return failed
}

func unavailable() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		"the event log cannot be used at present: try again later")
}

// Expired tells that events up to a position are no longer retained, and where
// the log begins.
func (a API) Expired(ctx context.Context, trimmed eventlog.Position) error {
	options := []rpcerr.Option{rpcerr.WithMetadata("earliest_cursor", a.Cursor(max(trimmed, a.Log.Bounds().Trimmed)))}
	stats, err := a.Log.Stats(ctx)
	if err != nil {
		return a.Fail(ctx, "look up the earliest event", err)
	}
	if !stats.EarliestTime.IsZero() {
		options = append(options, rpcerr.WithMetadata("earliest_time", stats.EarliestTime.UTC().Format(time.RFC3339Nano)))
	}
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED,
		"events after the cursor are no longer retained: start at earliest_cursor; a stream with on_expired EXPIRED_POLICY_EARLIEST goes on there by itself", options...)
}

// View returns the view in force. Its errors are of fielderr.
func View(view webhookgatewayv1.EventView) (webhookgatewayv1.EventView, error) {
	switch view {
	case webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED:
		return webhookgatewayv1.EventView_EVENT_VIEW_FULL, nil
	case webhookgatewayv1.EventView_EVENT_VIEW_METADATA, webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_RAW:
		return view, nil
	}
	return 0, fielderr.New("view", "%v is not a view that this gateway knows", view)
}

const (
	defaultPageSize = 100
	maxPageSize     = 1000
	// MaxPageBytes is the size of a page, about.
	MaxPageBytes = 1 << 20
)

// PageSize returns how many items a page has. Its errors are of fielderr.
func PageSize(given int32) (int, error) {
	switch {
	case given < 0:
		return 0, fielderr.New("page_size", "%d is negative: give 1 to %d, or 0 for %d", given, maxPageSize, defaultPageSize)
	case given == 0:
		return defaultPageSize, nil
	}
	return min(int(given), maxPageSize), nil
}

// Time returns the time of a field of a request, brought into the range that
// nanoseconds since 1970 can express: no event was received outside of it. Its
// errors are of fielderr.
func Time(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t.CheckValid() != nil {
		return time.Time{}, fielderr.New(field, "give a time from the year 1 to 9999")
	}
	return ClampTime(t.AsTime()), nil
}

// ClampTime brings a time into the range of the times of events.
func ClampTime(t time.Time) time.Time {
	earliest, latest := time.Unix(0, 0), time.Unix(0, math.MaxInt64)
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}

// ErrPageToken returns the status for a page token that is not one of this
// request.
func ErrPageToken() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID,
		"the page token was not given out for this request: repeat all fields but page_size as they were, or start again without it")
}
