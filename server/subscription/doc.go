// Package subscription keeps durable subscriptions: named positions in the event
// log that workers share.
//
// What is promised, whatever crashes:
//
//   - An event that was acknowledged, skipped or discarded with the answer OK is
//     never delivered again, unless somebody seeks.
//   - An event that was not is delivered again, until it is parked, or retention
//     removes it, or it is found damaged; then it is in the list of parked events, or
//     in a gap that is told until somebody was told.
//   - A token settles only the delivery that it came with: from the moment an
//     event is given back, or the process has ended, it settles nothing. Nobody can
//     make up a token.
//   - Events of a group are delivered in order: see machine.
//   - A subscription that cannot be loaded is set aside, and disturbs nobody.
//
// What counts as a failed attempt: a rejection with RETRY, and the end of a stream
// or of a deadline while that stream held nothing else that was sent to it. If it
// held several they are suspects: see deliver.go for how the one among them that
// ends its workers is found. What was handed to a stream and not sent, what a
// worker releases, and what a gateway that ends takes back, is delivered again as if
// it had not been handed out. After a crash of the gateway the deliveries that were under way do
// not count, nor do failures of the last second that no caller waited for.
//
// Where things are:
//
//   - machine has the rules of one subscription, and nothing else: no I/O, no clock.
//     entry, heap, group, worker, deliver, lease, giveback, gap, move, block, pair and
//     parking are parts of it.
//   - subscription runs a machine under one mutex. While streams are attached one
//     goroutine reads the log ahead and keeps time (feed). Durability is by group
//     commit (flush): all that has changed is written by one flush, while callers
//     wait for it.
//   - parkedStore has the parked events, with copies, in the store: none is in memory.
//   - Manager knows the subscriptions by name, loads them (load), and looks after
//     those that nobody is attached to (house).
package subscription
