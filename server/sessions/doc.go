// Package sessions finds the sessions of Finicity customers in Connect, which Finicity
// does not name, in the order of a customer's events. The rule is that of
// webhookgateway.v1.ConnectSession.
//
// An Index follows the log as a subscriber does: ingest knows nothing of it. What it knows
// is in memory, and is read again from the log at every start. So gateways that share a log
// know the same.
//
//   - book has the rule and the sessions, and nothing else: no I/O, no clock. There is one
//     for verified events and one for those that were not checked, so that whoever can send
//     the latter can neither change nor push out what is known of the former.
//   - Index reads the log.
package sessions
