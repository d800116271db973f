package main

import "strings"

// nearest is the known name that was probably meant, or empty.
func nearest(name string, known []string) string {
	const longest = 64 // no name of ours is longer
	if len(name) > longest {
		return ""
	}
	best, least := "", 1+len(fold(name))/3
	for _, k := range known {
		if d := distance(fold(name), fold(k)); d < least || d == 0 {
			best, least = k, d
		}
	}
	return best
}

// slipOf is the known NEXTCLOUD_* name of which one or two letters went wrong,
// or empty. Others have such variables, too, so that less counts as near than
// for names of our own.
func slipOf(name string, known []string) string {
	const prefix = "NEXTCLOUD_"
	rest, ours := strings.CutPrefix(name, prefix)
	if !ours {
		return ""
	}
	near := nearest(rest, without(known, prefix))
	most := 2
	if len(fold(near)) < 8 { // imapurl
		most = 1
	}
	if near == "" || distance(fold(rest), fold(near)) > most {
		return ""
	}
	return prefix + near
}

// without are names without the prefix that they have.
func without(names []string, prefix string) []string {
	rest := make([]string, len(names))
	for i, n := range names {
		rest[i] = strings.TrimPrefix(n, prefix)
	}
	return rest
}

// homeOf is the full path of the only key with that name in another section,
// and the key that it sets: a secret's where it is that of its file.
func homeOf(name string) (home, key string) {
	for _, k := range configReference() {
		for _, path := range twins(k.Path, k.Secret) {
			if path != name && !strings.HasSuffix(path, "."+name) || strings.Contains(path, "[]") {
				continue
			}
			if home != "" {
				return "", ""
			}
			home, key = path, k.Path
		}
	}
	return home, key
}

// twins are a key and, of a secret, the one that names its file.
func twins(key string, secret bool) []string {
	if secret {
		return []string{key, key + "_file"}
	}
	return []string{key}
}

// fold makes idleTimeout, idle-timeout and IDLE_TIMEOUT the same.
func fold(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
}

// distance counts the letters to insert, remove or exchange to make b of a, and
// the neighbours to swap.
func distance(a, b string) int {
	var before, above []int // the rows for a without its last letters
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := above[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, row[j]+1, above[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
