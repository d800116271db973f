//go:build !unix

package integrations

import (
	"io/fs"
	"os"
)

// OwnedLike leaves a file with whoever made it: owners are of no matter here.
func OwnedLike(*os.File, fs.FileInfo) error { return nil }
