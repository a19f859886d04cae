package provider

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

const maxClientIDBytes = 255

// CanaryClientID is the client of the gateway's own canary. It is nobody else's: what is
// delivered for it is left out of streams and lists whose filters do not name it.
const CanaryClientID = "webhook-gateway-canary"

// CheckClientID returns what is wrong with a client id: it must be 1 to 255 bytes of
// printable UTF-8, and not CanaryClientID.
func CheckClientID(id string) error {
	switch {
	case id == "":
		return errors.New("the client id is empty")
	case len(id) > maxClientIDBytes:
		return fmt.Errorf("the client id has %d bytes, at most %d are allowed", len(id), maxClientIDBytes)
	case !utf8.ValidString(id):
		return errors.New("the client id is not valid UTF-8")
	case id == CanaryClientID:
		return fmt.Errorf("the client id %s is reserved for the gateway's own canary: choose another", CanaryClientID)
	}
	for _, r := range id {
		if !unicode.IsPrint(r) {
			return errors.New("the client id holds a character that is not printable")
		}
	}
	return nil
}
