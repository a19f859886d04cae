package connlimit

// Shares are how many file descriptors each part of a process may use.
type Shares struct {
	// Webhooks, GRPC and InternalHTTP are connections of the three listeners.
	Webhooks, GRPC, InternalHTTP int
	// Cluster are connections of other gateways.
	Cluster int
	// StoreFiles are files of the event log.
	StoreFiles int
}

// The most that is of use.
const (
	maxWebhooks   = 10_000
	maxGRPC       = 10_000
	maxInternal   = 1_000
	maxCluster    = 256 // far more than other gateways make
	maxStoreFiles = 1_000
)

// Divide divides the file descriptors that a process may have. What is left is for
// what is neither a connection nor a file of the log.
func Divide(descriptors uint64) Shares {
	part := func(nth uint64, limit int) int { return int(min(descriptors/nth, uint64(limit))) } //nolint:gosec // bounded
	return Shares{
		Webhooks:     max(part(2, maxWebhooks), 4),
		GRPC:         max(part(8, maxGRPC), 4),
		InternalHTTP: max(part(16, maxInternal), 4),
		Cluster:      max(part(32, maxCluster), 8),
		StoreFiles:   max(part(4, maxStoreFiles), 16),
	}
}
