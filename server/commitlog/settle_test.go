package commitlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// refuseAll are faults that answer every append at once, and store none.
type refuseAll struct{ appends int }

var errNobody = errors.New("nobody is there")

func (f *refuseAll) Before([]byte) error { f.appends++; return errNobody }

func (f *refuseAll) After(_ []byte, answer error) error { return answer }

// TestSettleBacksOff: where nobody is there, which is answered at once, a commit is not sent again and again without a
// pause.
func TestSettleBacksOff(t *testing.T) {
	faults := new(refuseAll)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := commitlog.Settle(ctx, commitlogtest.NewMemory().Open(faults), 0, []byte("commit"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Settle() = %v", err)
	}
	if faults.appends < 2 || faults.appends > 20 {
		t.Errorf("it was sent %d times in a second", faults.appends)
	}
}
