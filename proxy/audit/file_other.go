//go:build !unix

package audit

import "os"

// lock does nothing here: that no other process appends is up to the operator.
func lock(*os.File) error { return nil }

// unsyncable reports whether an error says that a file is none that is synced,
// which cannot be told here.
func unsyncable(error) bool { return false }

// tooLong reports whether an error says that a datagram is longer than any that
// is sent, which cannot be told here.
func tooLong(error) bool { return false }
