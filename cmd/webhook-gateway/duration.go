package main

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

const day = 24 * time.Hour

// durationValue is a flag for a duration, which may have days.
type durationValue struct{ to *time.Duration }

func (v durationValue) String() string {
	if v.to == nil || *v.to == 0 {
		return ""
	}
	return fielderr.Duration(*v.to)
}

// Type is what the help calls the value.
func (durationValue) Type() string { return "duration" }

// Set implements pflag.Value.
func (v durationValue) Set(text string) error {
	d, err := parseDuration(text)
	if err == nil {
		*v.to = d
	}
	return err
}

var leadingDays = regexp.MustCompile(`^([0-9]{1,5}(?:\.[0-9]+)?)d`)

// parseDuration understands 1d, 1d12h, and what Go understands. It is not negative.
func parseDuration(text string) (time.Duration, error) {
	rest, sum := text, time.Duration(0)
	if m := leadingDays.FindStringSubmatch(text); m != nil {
		days, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, errNoDuration
		}
		sum, rest = time.Duration(days*float64(day)), strings.TrimPrefix(text, m[0])
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, errNoDuration
		}
		sum += d
	}
	if text == "" || sum < 0 {
		return 0, errNoDuration
	}
	return sum, nil
}

var errNoDuration = errors.New("give a duration such as 90s, 15m, 1h30m or 2d")

// durationVar adds a flag for a duration.
func durationVar(f *pflag.FlagSet, to *time.Duration, name, usage string) {
	f.Var(durationValue{to}, name, usage)
}
