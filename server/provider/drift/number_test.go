package drift

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

func TestParseInt(t *testing.T) {
	for number, want := range map[string]string{
		"0":                            "0",
		"-0":                           "0",
		"-0.0e5":                       "0",
		"0e99999999999999999999":       "0",
		"9223372036854775807":          "9223372036854775807",
		"-9223372036854775808":         "-9223372036854775808",
		"9223372036854775807.0":        "9223372036854775807",
		"9223372036854775808":          "",
		"922337203685477580.7e1":       "9223372036854775807",
		"9007199254740993":             "9007199254740993",
		"1e18":                         "1000000000000000000",
		"1e19":                         "",
		"1e999999999":                  "",
		"1e99999999999999999999":       "",
		"1.5":                          "",
		"150e-1":                       "15",
		"155e-1":                       "",
		"1.00000000000000000000001":    "",
		"100000000000000000000e-20":    "1",
		strings.Repeat("9", 1_000_000): "",
	} {
		i, ok := parseInt([]byte(number))
		if got := strconv.FormatInt(i, 10); ok != (want != "") || ok && got != want {
			t.Errorf("%.40s is %s, %t, want %q", number, got, ok, want)
		}
	}
}

func TestParseFloat(t *testing.T) {
	for _, test := range []struct {
		number    string
		exact, ok bool
	}{
		{"0", true, true},
		{"-0", true, true},
		{"0e99999999999", true, true},
		{"0.1", true, true},
		{"-1520.07", true, true},
		{"123456789012345", true, true},
		{"9007199254740992", true, true},
		{"9007199254740993", false, true},
		{"9223372036854775807", false, true},
		{"0.1000000000000000055511151231257827", false, true},
		{"1.7976931348623157e308", true, true},
		{"1.8e308", false, false},
		{"5e-324", true, true},
		{"4e-324", false, true},
		{"1e-400", false, true},
		{"1e-99999999999999999999", false, true},
	} {
		if _, exact, ok := parseFloat([]byte(test.number)); exact != test.exact || ok != test.ok {
			t.Errorf("%s is exact %t, ok %t", test.number, exact, ok)
		}
	}
}

// FuzzNumber compares with rational numbers.
func FuzzNumber(f *testing.F) {
	for _, number := range []string{"0", "-1.50", "12345678901234567890", "1e22", "9007199254740993", "0.30000000000000004", "100e-2"} {
		f.Add(number)
	}
	f.Fuzz(func(t *testing.T, number string) {
		if len(number) > 100 || !json.Valid([]byte(number)) || !strings.ContainsAny(number[:1], "-0123456789") {
			t.Skip("not a number in JSON")
		}
		if i := strings.IndexAny(number, "eE"); i >= 0 && len(number)-i > 5 {
			t.Skip("a rational number of that size takes too long")
		}
		number = strings.TrimSpace(number)
		exactly, ok := new(big.Rat).SetString(number)
		if !ok {
			t.Fatalf("%s is no rational number", number)
		}
		i, isInt := parseInt([]byte(number))
		if want := exactly.IsInt() && exactly.Num().IsInt64(); isInt != want || isInt && exactly.Num().Int64() != i {
			t.Errorf("%s is the integer %d, %t, want %s", number, i, isInt, exactly)
		}
		float, exact, ok := parseFloat([]byte(number))
		if !ok {
			return
		}
		back, _ := new(big.Rat).SetString(strconv.FormatFloat(float, 'e', -1, 64))
		if exact != (back.Cmp(exactly) == 0) {
			t.Errorf("%s is %g, exact %t", number, float, exact)
		}
	})
}
