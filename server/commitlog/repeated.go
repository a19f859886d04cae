package commitlog

import "time"

// Repeated is an error that comes again and again while an engine cannot be used. The zero value
// is one that did not come yet.
type Repeated struct {
	text string
	at   time.Time
}

// IsNews reports whether the error should be logged: the first time, and then what has changed every
// five seconds and what has not every minute.
func (r *Repeated) IsNews(err error) bool {
	pause := 5 * time.Second
	if err.Error() == r.text {
		pause = time.Minute
	}
	if time.Since(r.at) < pause {
		return false
	}
	r.text, r.at = err.Error(), time.Now()
	return true
}
