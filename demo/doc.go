// Package demo holds what lets a person, or a test, try Anteroom with nothing
// else at hand: a pretend Nextcloud and a small application to stand behind
// Anteroom.
//
// [Nextcloud] answers as real ones were seen to answer, oddities included: its
// built-in OAuth2, the oidc app in an older and a newer version, the OCS calls
// about the signed-in user, status.php, maintenance mode and the files part of
// WebDAV. It keeps everything in memory and has knobs to make it fail.
//
// [App] shows what it was told about its caller and whether the identity JWT
// it received verifies.
//
// Both are for loopback. Passwords are compared in the clear, nothing is
// throttled, and whoever reaches the application is shown every header it got.
// The package imports nothing else of Anteroom: it must not be able to share a
// mistake with what it is used to test.
package demo
