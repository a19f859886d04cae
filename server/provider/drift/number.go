package drift

import (
	"bytes"
	"strconv"
	"strings"
)

// surelyExactDigits is how many decimal digits every float64 keeps.
const surelyExactDigits = 15

// parseInt returns the integer that a JSON number is, in whatever notation.
func parseInt(number []byte) (int64, bool) {
	if i, err := strconv.ParseInt(string(number), 10, 64); err == nil {
		return i, true
	}
	negative, digits, exponent, ok := decimal(string(number))
	switch {
	case !ok || exponent < 0 || len(digits)+exponent > 19:
		return 0, false
	case digits == "":
		return 0, true
	case negative:
		digits = "-" + digits
	}
	i, err := strconv.ParseInt(digits+strings.Repeat("0", exponent), 10, 64)
	return i, err == nil
}

// parseFloat returns the float64 nearest to a JSON number, whether there is one,
// and whether it reads back as the same decimal.
func parseFloat(number []byte) (f float64, exact, ok bool) {
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil {
		return 0, false, false
	}
	if len(number) <= surelyExactDigits && !bytes.ContainsAny(number, "eE") {
		return f, true, true
	}
	negative, digits, exponent, ok := decimal(string(number))
	if !ok {
		return f, false, true
	}
	backNegative, backDigits, backExponent, _ := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	return f, negative == backNegative && digits == backDigits && exponent == backExponent, true
}

// decimal splits a number into its sign, its significant digits without zeros at
// either end, and the power of ten that the digits are multiplied with. Zero has
// no digits and exponent 0. It is not ok if the exponent is out of all range.
func decimal(number string) (negative bool, digits string, exponent int, ok bool) {
	number, negative = strings.CutPrefix(number, "-")
	mantissa, power := number, ""
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, power = number[:i], number[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return negative, "", 0, true
	}
	if power != "" {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > 1e9 || exponent < -1e9 {
			return negative, "", 0, false
		}
	}
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	return negative, trimmed, exponent + len(digits) - len(trimmed), true
}
