package audit

import (
	"encoding/json"
	"strconv"
	"time"
)

// appendTo appends an event's JSON, as its struct tags have it, without the last
// brace. There is a line for each request: by reflection it would cost three
// times as much (BenchmarkWrite).
func (e *Event) appendTo(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendText(b, "event", string(e.Kind), true)
	b = appendText(b, "sub", e.Subject, false)
	b = appendText(b, "sid", e.Session, false)
	b = appendText(b, "by", string(e.Means), false)
	b = appendText(b, "client", e.Client, false)
	b = appendText(b, "method", e.Method, false)
	b = appendText(b, "host", e.Host, false)
	b = appendText(b, "path", e.Path, false)
	b = appendText(b, "operation", e.Operation, false)
	b = appendText(b, "object", e.Object, false)
	b = appendText(b, "to", e.To, false)
	b = appendText(b, "as", e.As, false)
	b = appendNumber(b, "status", int64(e.Status))
	b = appendNumber(b, "received", e.Received)
	b = appendNumber(b, "sent", e.Sent)
	b = appendText(b, "reason", e.Reason, false)
	b = appendText(b, "request_id", e.RequestID, false)
	b = appendText(b, "alert", e.Alert, false)
	b = appendText(b, "device", e.Device, false)
	return appendNumber(b, "count", int64(e.Count))
}

func appendText(b []byte, name, value string, always bool) []byte {
	if value == "" && !always {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(value)
			if err != nil {
				panic(err) // of a string
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), value...), '"')
}

func appendNumber(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(append(append(append(b, `,"`...), name...), `":`...), value, 10)
}
