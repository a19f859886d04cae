// Package subscription keeps durable subscriptions: named positions in the event
// log that workers share.
//
// What is promised, whatever crashes:
//
//   - An event that was acknowledged, skipped or discarded with the answer OK is
//     never delivered again, unless somebody seeks.
//   - An event that was not is delivered again, until it is parked or retention
//     removes it; then it is in the list of parked events, or in a gap.
//   - A token settles only the delivery that it came with: from the moment an
//     event is given back, or the process has ended, it settles nothing.
//   - Events of a group are delivered in order: see machine.
//
// What is approximate: attempts. A delivery counts when it is given back by a
// rejection, by its deadline or by the end of its stream. After a crash the
// deliveries that were under way do not count, nor those that were given back
// within the last second. Backoffs and deadlines end with the process: what
// waited is delivered at once.
//
// The machine has the rules and nothing else. A subscription runs it: under one
// mutex, with one goroutine while streams are attached, that reads the log ahead
// and keeps time. Durability is by group commit: all that changed since the last
// commit is written in the next one, while callers wait for it. The Manager knows
// the subscriptions by name.
package subscription
