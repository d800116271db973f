package main

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"anteroom/proxy/audit"
)

// TestAuditReportCounts: one of a thing is not several.
func TestAuditReportCounts(t *testing.T) {
	for _, tt := range []struct {
		report audit.Report
		want   []string
	}{
		{audit.Report{Lines: 1, Signed: 1, Resumed: 1, Before: 1, FindCount: 1},
			[]string{"1 line, ", "1 signature holds, no line came after the last.", "1 line had no", "1 line before them is in", ": 1 finding."}},
		{audit.Report{Lines: 9, Signed: 2, Unsigned: 1, UnsignedFor: time.Second, Resumed: 2, Before: 3},
			[]string{"9 lines, ", "2 signatures hold, 1 line came after the last, within 1s.", "2 lines had no", "3 lines before them are in", "All lines are"}},
	} {
		var out strings.Builder
		_ = reportAudit(&tt.report, audit.Proof{Keys: make([]ed25519.PublicKey, 1)}, &out)
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%+v is reported as\n%swithout %q", tt.report, out.String(), want)
			}
		}
	}
}
