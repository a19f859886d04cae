package subscription

import "time"

// Hasten has time pass for a subscription: every deadline of what its workers hold is
// over, and so is every wait for another attempt. What was held and not settled comes
// again as it would have later. For tests.
func (m *Manager) Hasten(name string) error {
	s, err := m.find(name)
	if err != nil {
		return err
	}
	return s.change(func(now time.Time) { s.machine.hasten(now) })
}

// hasten moves the clock of the machine on, at first beyond every deadline, and then
// beyond the waits that began when these passed.
func (m *machine) hasten(now time.Time) {
	for _, d := range []time.Duration{maxAckDeadline, maxMaxBackoff} {
		m.start = m.start.Add(-d)
		m.expire(now)
	}
}
