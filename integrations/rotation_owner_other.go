//go:build !unix

package integrations

import (
	"io/fs"
	"os"
)

// ownedLike leaves a file with whoever made it: owners are of no matter here.
func ownedLike(*os.File, fs.FileInfo) error { return nil }
