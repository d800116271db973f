package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const completionAbout = `print what completes commands and flags in a shell:

  bash   anteroom completion bash > /etc/bash_completion.d/anteroom
  zsh    anteroom completion zsh  > "${fpath[1]}/_anteroom"
  fish   anteroom completion fish > ~/.config/fish/completions/anteroom.fish`

// completion prints the completion of one shell.
func completion(_ context.Context, args []string, sys system) error {
	words, err := positional(unconfigured("completion", completionAbout, sys), args)
	if err != nil {
		return err
	}
	shells := map[string]func(grammar) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(words) != 1 || shells[words[0]] == nil {
		return errors.New("completion: say bash, zsh or fish")
	}
	_, err = fmt.Fprint(sys.Out, shells[words[0]](newGrammar()))
	return err
}

// grammar is what may be typed, for the shells.
type grammar struct {
	first  []word       // commands
	follow []followers  // what may follow each
	valued []string     // flags that take a value: the same in every command
	files  []string     // of these, those whose value is a file
	chosen []flagChoice // those whose value is one of a few words
}

// word is something to offer, and what it is for.
type word struct{ text, short string }

// followers are what may follow a command: other words, or flags.
type followers struct {
	path  string // "sessions list"
	words []word // words of the command, or of its one argument
	flags []word // without --help, which follows everything
	file  bool   // its arguments are files
}

type flagChoice struct {
	flag  string
	words []string
}

func newGrammar() grammar {
	var g grammar
	for _, c := range commands() {
		g.first = append(g.first, word{c.name, c.short})
		at := followers{path: c.name}
		for _, w := range c.words {
			at.words = append(at.words, word{w.name, w.short})
		}
		if c.run == nil {
			g.follow = append(g.follow, at)
			continue
		}
		g.add(invoked{c.name, c}, at)
	}
	for _, i := range invocations() {
		if strings.Contains(i.path, " ") {
			g.add(i, followers{path: i.path})
		}
	}
	return g
}

func (g *grammar) add(i invoked, at followers) {
	for _, w := range choices(strings.Trim(i.args, "[]")) {
		at.words = append(at.words, word{w, ""})
	}
	at.file = strings.HasSuffix(i.args, "FILE") || strings.HasSuffix(i.args, "FILE]...")
	for _, f := range i.flagsOf() {
		takes, text := flagText(f)
		at.flags = append(at.flags, word{"--" + f.Name, text})
		if name := "--" + f.Name; takes != "" && !slices.Contains(g.valued, name) {
			g.valued = append(g.valued, name)
			if takes == "FILE" {
				g.files = append(g.files, name)
			}
			if some := choices(takes); some != nil {
				g.chosen = append(g.chosen, flagChoice{name, some})
			}
		}
	}
	g.follow = append(g.follow, at)
}

// beginning is a pattern of a shell's case: the command itself where words
// follow it, else it and whatever follows.
func (f followers) beginning() string {
	if len(f.words) > 0 {
		return "'" + f.path + "'"
	}
	return "'" + f.path + "' | '" + f.path + " '*"
}

func joined(words []word) string {
	var all []string
	for _, w := range words {
		all = append(all, w.text)
	}
	return strings.Join(all, " ")
}

func bashCompletion(g grammar) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion for anteroom, made by "anteroom completion bash".
_anteroom() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} line= words= i
	if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; elif [[ $cur == = ]]; then cur=; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		%s) [[ ${COMP_WORDS[i+1]} == = ]] && ((i++)); ((i++)) ;;
		-*) ;;
		*) line+="${line:+ }${COMP_WORDS[i]}" ;;
		esac
	done
	COMPREPLY=()
	case $prev in
`, strings.Join(g.valued, " | "))
	fmt.Fprintf(&b, "\t%s) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n", strings.Join(g.files, " | "))
	for _, c := range g.chosen {
		fmt.Fprintf(&b, "\t%s) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); return ;;\n", c.flag, strings.Join(c.words, " "))
	}
	fmt.Fprintf(&b, "\t%s) return ;;\n\tesac\n\tcase $line in\n\t'') words='%s --config --help --version' ;;\n", strings.Join(g.valued, " | "), joined(g.first))
	for _, f := range g.follow {
		fmt.Fprintf(&b, "\t%s) words='%s'", f.beginning(), strings.TrimSpace(joined(f.words)+" "+joined(f.flags)+" --help"))
		if f.file {
			b.WriteString("; [[ $cur == -* ]] || { compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return; }")
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("\tesac\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\ncomplete -F _anteroom anteroom\n")
	return b.String()
}

func zshCompletion(g grammar) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef anteroom
# zsh completion for anteroom, made by "anteroom completion zsh".
_anteroom() {
	local -a offered
	local line= prev=${words[CURRENT-1]} i
	for ((i = 2; i < CURRENT; i++)); do
		case ${words[i]} in
		%[1]s) ((i++)) ;;
		-*) ;;
		*) line+="${line:+ }${words[i]}" ;;
		esac
	done
	case $prev in
	%s) _files; return ;;
`, strings.Join(g.valued, " | "), strings.Join(g.files, " | "))
	for _, c := range g.chosen {
		fmt.Fprintf(&b, "\t%s) compadd -- %s; return ;;\n", c.flag, strings.Join(c.words, " "))
	}
	fmt.Fprintf(&b, "\t%s) return 1 ;;\n\tesac\n\tcase $line in\n", strings.Join(g.valued, " | "))
	general := []word{{"--config", "the configuration file"}, {"--help", "say more"}, {"--version", "say which version this is"}}
	fmt.Fprintf(&b, "\t'') offered=(%s) ;;\n", zshWords(append(slices.Clone(g.first), general...)))
	for _, f := range g.follow {
		all := append(append(slices.Clone(f.words), f.flags...), general[1])
		fmt.Fprintf(&b, "\t%s) offered=(%s)", f.beginning(), zshWords(all))
		if f.file {
			b.WriteString("; _files")
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("\tesac\n\t_describe anteroom offered\n}\nif [ \"$funcstack[1]\" = _anteroom ]; then _anteroom \"$@\"; else compdef _anteroom anteroom; fi\n")
	return b.String()
}

func zshWords(words []word) string {
	var all []string
	for _, w := range words {
		text := strings.ReplaceAll(w.text, ":", `\:`)
		if w.short != "" {
			text += ":" + w.short
		}
		all = append(all, shellQuoted(text))
	}
	return strings.Join(all, " ")
}

func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func fishCompletion(g grammar) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# fish completion for anteroom, made by "anteroom completion fish".
function __anteroom_at --description 'whether these commands have been typed'
    set -l typed
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case %s
                set skip 1
            case '-*'
            case '*'
                set -a typed $word
        end
    end
    if test "$argv[1]" = exactly
        test "$typed" = "$argv[2]"
    else
        string match -q -- "$argv[2] *" "$typed "
    end
end
complete -c anteroom -f
complete -c anteroom -n '__anteroom_at exactly ""' -l config -r -F -d 'the configuration file'
complete -c anteroom -n '__anteroom_at exactly ""' -l version -d 'say which version this is'
complete -c anteroom -l help -d 'say more'
`, strings.Join(g.valued, " "))
	for _, w := range g.first {
		fmt.Fprintf(&b, "complete -c anteroom -n '__anteroom_at exactly \"\"' -a %s -d %s\n", w.text, fishQuoted(w.short))
	}
	for _, f := range g.follow {
		at := fmt.Sprintf("-n '__anteroom_at below \"%s\"'", f.path)
		if len(f.words) > 0 {
			at = fmt.Sprintf("-n '__anteroom_at exactly \"%s\"'", f.path)
		}
		for _, w := range f.words {
			fmt.Fprintf(&b, "complete -c anteroom %s -a %s -d %s\n", at, w.text, fishQuoted(w.short))
		}
		for _, w := range f.flags {
			fmt.Fprintf(&b, "complete -c anteroom %s -l %s%s -d %s\n", at, strings.TrimPrefix(w.text, "--"), g.fishValue(w.text), fishQuoted(w.short))
		}
		if f.file {
			fmt.Fprintf(&b, "complete -c anteroom %s -F\n", at)
		}
	}
	return b.String()
}

// fishValue says what a flag takes.
func (g grammar) fishValue(flag string) string {
	for _, c := range g.chosen {
		if c.flag == flag {
			return " -x -a '" + strings.Join(c.words, " ") + "'"
		}
	}
	switch {
	case slices.Contains(g.files, flag):
		return " -r -F"
	case slices.Contains(g.valued, flag):
		return " -x"
	}
	return ""
}

func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
