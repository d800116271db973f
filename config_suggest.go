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

// homeOf is the full path of the only key with that name in another section.
func homeOf(name string) string {
	home := ""
	for _, k := range configReference() {
		if k.Path != name && !strings.HasSuffix(k.Path, "."+name) || strings.Contains(k.Path, "[]") {
			continue
		}
		if home != "" {
			return ""
		}
		home = k.Path
	}
	return home
}

// fold makes idleTimeout, idle-timeout and IDLE_TIMEOUT the same.
func fold(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
}

// distance counts the letters to insert, remove or exchange to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
