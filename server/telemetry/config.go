package telemetry

import (
	"errors"
	"net"
	"strconv"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config is where traces are sent, and how many.
type Config struct {
	// Endpoint is the `host:port` of a collector that takes OTLP over gRPC. Empty:
	// there are no traces.
	Endpoint string `yaml:"endpoint"`
	// Insecure sends them without TLS.
	Insecure bool `yaml:"insecure"`
	// SampleRatio is the part of the deliveries that is traced, more than 0 and at
	// most 1.
	SampleRatio float64 `yaml:"sample_ratio"`
	// ServiceName is the name of the gateway in its traces.
	ServiceName string `yaml:"service_name"`
}

// DefaultConfig returns the configuration that is in force where nothing else is
// given.
func DefaultConfig() Config { return Config{SampleRatio: 1, ServiceName: "webhook-gateway"} }

// Enabled reports whether there are traces.
func (c Config) Enabled() bool { return c.Endpoint != "" }

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Enabled() {
		host, port, err := net.SplitHostPort(c.Endpoint)
		if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" || number == 0 {
			errs = append(errs, fielderr.New("endpoint", "%q is no address of a collector: give host:port without a scheme, such as localhost:4317, or nothing for no traces", c.Endpoint))
		}
	}
	if !(c.SampleRatio > 0 && c.SampleRatio <= 1) { // NaN is neither
		errs = append(errs, fielderr.New("sample_ratio", "must be more than 0 and at most 1, not %v; for no traces leave telemetry.endpoint empty", c.SampleRatio))
	}
	if c.ServiceName == "" {
		errs = append(errs, fielderr.New("service_name", "must not be empty: it is the name of the gateway in its traces"))
	}
	return errors.Join(errs...)
}
