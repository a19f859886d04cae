package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// toleratedBehind is by how much a clock may be behind the newest event.
const toleratedBehind = time.Minute

// checkClock looks whether something keeps the clock right, and whether it is behind what
// it once was.
func checkClock(ctx context.Context, store string, g gateway) []Finding {
	synchronised, err := isSynchronised()
	newest, what := newestTime(ctx, store, g)
	return []Finding{judgeSynchronised(synchronised, err), judgeClock(time.Now(), newest, what)}
}

func judgeSynchronised(synchronised bool, err error) Finding {
	switch {
	case err != nil:
		return finding(Skip, "", "whether the clock is synchronised is not known: %v", err)
	case !synchronised:
		return finding(Warn, "run chronyd or systemd-timesyncd", "the kernel says that nothing keeps the clock synchronised: retention and the times of events go by it")
	}
	return finding(OK, "", "the clock is synchronised")
}

// newestTime returns when the log was last in use, and how that is known: by its newest
// event if the gateway tells, and by its files otherwise. Zero: never, or it is not known.
func newestTime(ctx context.Context, store string, g gateway) (newest time.Time, what string) {
	head, err := g.internal.headTime(ctx)
	if err == nil {
		return head, "the newest event"
	}
	eachFile(store, func(info fs.FileInfo) {
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	})
	return newest, fmt.Sprintf("the last write to the store (the newest event is not known: %s)", plain(err))
}

func judgeClock(now, newest time.Time, what string) Finding {
	behind := newest.Sub(now).Round(time.Second)
	switch {
	case newest.IsZero():
		return finding(Skip, "", "there is nothing yet to compare the clock with")
	case behind > toleratedBehind:
		return finding(Warn, "correct the clock, or let it stand if it is right: until it is there, events get the time of the newest one",
			"the clock is %v behind %s", behind, what)
	}
	return finding(OK, "", "the clock is not behind %s, %s", what, newest.UTC().Format(time.RFC3339))
}
