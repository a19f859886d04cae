// Package redact masks events: it leaves out the fields that a reader is not meant to
// see.
//
// What a field holds is marked in the protos, by the option
// webhookgateway.sensitivity.v1.sensitivity. What is stored stays whole.
package redact

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Classes is a set of classes of sensitive fields. Zero is none. Every other set that
// Parse returns has SENSITIVITY_UNTYPED, so that what several sets have in common, a & b,
// is right in this, too.
type Classes uint32

// Parse returns the classes with the names that Names gives, in any case. Its errors are
// of fielderr, with paths such as `[2]`.
func Parse(names []string) (Classes, error) {
	var set Classes
	var errs []error
	for i, name := range names {
		class, known := sensitivityv1.Sensitivity_value[prefix+strings.ToUpper(name)]
		if !known || class < int32(firstClass) {
			errs = append(errs, fielderr.New(fmt.Sprintf("[%d]", i), "%q is no class of sensitive fields: choose from %s",
				name, strings.Join(All().Names(), ", ")))
			continue
		}
		set |= of(sensitivityv1.Sensitivity(class))
	}
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return set, nil
}

// All returns all classes.
func All() Classes {
	var set Classes
	for number := range sensitivityv1.Sensitivity_name {
		if class := sensitivityv1.Sensitivity(number); class >= firstClass {
			set |= of(class)
		}
	}
	return set
}

// Has reports whether the set has a class.
func (c Classes) Has(class sensitivityv1.Sensitivity) bool { return c>>class&1 != 0 }

// Names returns the names of the classes as people write them, such as
// `account_number`, in the order of the enum.
func (c Classes) Names() []string {
	var names []string
	for _, class := range c.List() {
		names = append(names, strings.ToLower(strings.TrimPrefix(class.String(), prefix)))
	}
	return names
}

const (
	prefix = "SENSITIVITY_"
	// firstClass is the first value of the enum that is a class.
	firstClass = sensitivityv1.Sensitivity_SENSITIVITY_UNTYPED
)

func of(class sensitivityv1.Sensitivity) Classes { return 1<<class | 1<<firstClass }

// List returns the classes in the order of the enum.
func (c Classes) List() []sensitivityv1.Sensitivity {
	var list []sensitivityv1.Sensitivity
	for rest := uint32(c); rest != 0; rest &= rest - 1 {
		list = append(list, sensitivityv1.Sensitivity(bits.TrailingZeros32(rest))) //nolint:gosec // at most 31
	}
	return list
}
