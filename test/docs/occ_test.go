package docs

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// occ stands in for Nextcloud's command: it knows the commands, arguments and
// options that first-run may use, with the answers that Nextcloud's and the oidc
// app's source give, keeps what they change in a file, and writes down each call.
// What it does not know it refuses as Symfony's console does.
type occ struct {
	Installed  bool
	Oidc       string // version of the app: "", where the store has none
	AppThere   bool
	AppEnabled bool
	Tokens     string // the command that makes app passwords: of 31 and later, or the one before
	Groups     map[string][]string
	Users      map[string]*occUser
	Clients    []occClient
	LogoutURIs []string
	Config     map[string]string
	FailAt     int // the call that breaks, from 1; 0: none
	Calls      []occCall
}

type occUser struct{ Display, Email, Password, AppPassword string }

type occClient struct {
	Name     string   `json:"name"`
	URIs     []string `json:"redirect_uris"`
	Alg      string   `json:"jwt_alg"`
	Type     string   `json:"type"`
	ID       string   `json:"client_id"`
	Secret   string   `json:"client_secret"`
	Flow     string   `json:"flow_type"`
	IssuedAt int      `json:"issued_at"`
}

type occCall struct {
	Args []string
	Exit int
}

func freshOcc() *occ {
	return &occ{Installed: true, Oidc: "2.0.9", Tokens: "user:auth-tokens:add", Groups: map[string][]string{"admin": {"admin"}}, Users: map[string]*occUser{"admin": {}}, Config: map[string]string{}}
}

// occCommands are the arguments that each command takes, and the options.
var occCommands = map[string]struct {
	least, most int
	options     []string
}{
	"status":                          {0, 0, nil},
	"group:add":                       {1, 1, nil},
	"group:adduser":                   {2, 2, nil},
	"user:info":                       {1, 1, nil},
	"user:add":                        {1, 1, []string{"password-from-env", "display-name", "group"}},
	"user:resetpassword":              {1, 1, []string{"password-from-env"}},
	"user:setting":                    {3, 4, nil},
	"user:auth-tokens:add":            {1, 1, []string{"password-from-env"}},
	"user:add-app-password":           {1, 1, []string{"password-from-env"}},
	"config:app:set":                  {2, 2, []string{"value"}},
	"app:getpath":                     {1, 1, nil},
	"app:install":                     {1, 1, nil},
	"app:enable":                      {1, 1, nil},
	"oidc:list":                       {0, 0, nil},
	"oidc:create":                     {2, 99, []string{"algorithm", "flow", "type"}},
	"oidc:list-logout-redirect-uri":   {0, 0, nil},
	"oidc:create-logout-redirect-uri": {1, 1, nil},
}

// occMain is the stand-in's program.
func occMain(state string, args []string) int {
	o := new(occ)
	text, err := os.ReadFile(state)
	if err != nil || json.Unmarshal(text, o) != nil {
		fmt.Println("the stand-in has no state")
		return 99
	}
	out := new(strings.Builder)
	exit := o.run(args, out)
	o.Calls = append(o.Calls, occCall{args, exit})
	if o.FailAt > 0 && len(o.Calls) == o.FailAt {
		exit = 137 // what it did is done, and nobody learns of it
		out.Reset()
	}
	if text, err = json.Marshal(o); err != nil || os.WriteFile(state, text, 0o600) != nil {
		return 99
	}
	io.WriteString(os.Stdout, out.String())
	return exit
}

func (o *occ) run(args []string, out io.Writer) int {
	var name string
	var rest []string
	options := map[string]string{}
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--no-interaction" || a == "--no-ansi":
		case strings.HasPrefix(a, "--"):
			key, value, given := strings.Cut(a[2:], "=")
			if !given && (key == "display-name" || key == "group") && i+1 < len(args) {
				i++
				value = args[i]
			}
			options[key] = value
		case name == "":
			name = a
		default:
			rest = append(rest, a)
		}
	}
	c, known := occCommands[name]
	if !known || !o.has(name) {
		fmt.Fprintf(out, "\n  Command %q is not defined.  \n\n", name)
		return 1
	}
	for key := range options {
		if !slices.Contains(c.options, key) {
			fmt.Fprintf(out, "\n  The \"--%s\" option does not exist.  \n\n", key)
			return 1
		}
	}
	if len(rest) < c.least || len(rest) > c.most {
		fmt.Fprintf(out, "\n  Wrong number of arguments.  \n\n")
		return 1
	}
	if name != "status" && !o.Installed {
		fmt.Fprintln(out, "Nextcloud is not installed - only a limited number of commands are available")
		return 1
	}
	return o.do(name, rest, options, out)
}

// has reports whether this Nextcloud, with this app, has a command.
func (o *occ) has(name string) bool {
	old := strings.HasPrefix(o.Oidc, "0.")
	switch name {
	case "oidc:list", "oidc:create":
		return o.AppEnabled && !old
	case "oidc:list-logout-redirect-uri", "oidc:create-logout-redirect-uri":
		return o.AppEnabled && !old && !strings.HasPrefix(o.Oidc, "1.")
	case "user:auth-tokens:add":
		return o.Tokens == name
	}
	return true
}

func (o *occ) do(name string, args []string, options map[string]string, out io.Writer) int {
	refuse := func(format string, a ...any) int {
		fmt.Fprintf(out, format+"\n", a...)
		return 1
	}
	var password string
	if _, asked := options["password-from-env"]; asked {
		// Tokens: getenv('NC_PASS') ?? getenv('OC_PASS') never comes to the second.
		variable := "OC_PASS"
		if strings.Contains(name, "password") && name != "user:resetpassword" || strings.Contains(name, "tokens") {
			variable = "NC_PASS"
		}
		if password = os.Getenv(variable); password == "" {
			return refuse("--password-from-env given, but %s is empty!", variable)
		}
	}
	user := func() *occUser {
		if len(args) == 0 {
			return nil
		}
		return o.Users[args[0]]
	}()
	switch name {
	case "status":
		fmt.Fprintf(out, "  - installed: %v\n  - version: 32.0.1.2\n  - maintenance: false\n", o.Installed)
	case "group:add":
		if _, there := o.Groups[args[0]]; there {
			return refuse("Group %q already exists.", args[0])
		}
		o.Groups[args[0]] = []string{}
	case "group:adduser":
		if _, there := o.Groups[args[0]]; !there {
			return refuse("group not found")
		}
		if o.Users[args[1]] == nil {
			return refuse("user not found")
		}
		if !slices.Contains(o.Groups[args[0]], args[1]) {
			o.Groups[args[0]] = append(o.Groups[args[0]], args[1])
		}
	case "user:info":
		if user == nil {
			return refuse("user not found")
		}
		fmt.Fprintf(out, "  - user_id: %s\n", args[0])
	case "user:add":
		if user != nil {
			return refuse("The account %q already exists.", args[0])
		}
		if password == "testdoc123" && o.Config["enforceHaveIBeenPwned"] != "0" {
			return refuse("Password is present in compromised password list. Please choose a different password.")
		}
		o.Users[args[0]] = &occUser{Display: options["display-name"], Password: password}
		if g := options["group"]; g != "" {
			o.Groups[g] = append(o.Groups[g], args[0])
		}
	case "user:resetpassword":
		if user == nil {
			return refuse("User does not exist")
		}
		user.Password, user.AppPassword = password, ""
	case "user:setting":
		switch {
		case user == nil:
			return refuse("The user %q does not exist.", args[0])
		case len(args) == 4:
			user.Email = args[3]
		case user.Email == "":
			return refuse("The setting does not exist for user %q.", args[0])
		default:
			fmt.Fprintln(out, user.Email)
		}
	case "user:auth-tokens:add", "user:add-app-password":
		if user == nil {
			return refuse("Account does not exist")
		}
		if password != user.Password {
			return refuse("the stand-in is stricter than Nextcloud: not the account's password")
		}
		user.AppPassword = fmt.Sprintf("%072d", len(o.Calls)+1)
		if name == "user:add-app-password" {
			fmt.Fprintln(out, "The password is not validated so what you provide is what gets recorded in the token")
		}
		fmt.Fprintf(out, "app password:\n%s\n", user.AppPassword)
	case "config:app:set":
		o.Config[args[1]] = options["value"]
	case "app:getpath":
		if !o.AppThere {
			return 1
		}
	case "app:install":
		if o.Oidc == "" {
			return refuse("Error: App %q not found in the appstore", args[0])
		}
		o.AppThere, o.AppEnabled = true, true
	case "app:enable":
		o.AppEnabled = true
	case "oidc:list":
		return o.show(out, o.Clients)
	case "oidc:create":
		if !regexp.MustCompile(`^https?://[^/]+/`).MatchString(args[1]) {
			return refuse("Error: The redirect uri '%s' is not valid according to the configured redirect uri rules.", args[1])
		}
		n := len(o.Clients)
		o.Clients = append(o.Clients, occClient{args[0], args[1:], options["algorithm"], options["type"], fmt.Sprintf("id%062d", n), fmt.Sprintf("secret%058d", len(o.Calls)), options["flow"], 1})
		return o.show(out, o.Clients[n])
	case "oidc:list-logout-redirect-uri":
		type uri struct {
			ID  int    `json:"id"`
			URI string `json:"redirect_uri"`
		}
		all := []uri{}
		for i, u := range o.LogoutURIs {
			all = append(all, uri{i, u})
		}
		return o.show(out, all)
	case "oidc:create-logout-redirect-uri":
		o.LogoutURIs = append(o.LogoutURIs, args[0])
	}
	return 0
}

// show prints as json_encode does with JSON_PRETTY_PRINT and _UNESCAPED_SLASHES.
func (o *occ) show(out io.Writer, v any) int {
	text, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return 1
	}
	fmt.Fprintf(out, "%s\n", text)
	return 0
}

// secrets are what must be seen nowhere but in the files.
func (o *occ) secrets() (all []string) {
	for _, u := range o.Users {
		all = append(all, u.Password, u.AppPassword)
	}
	for _, c := range o.Clients {
		all = append(all, c.Secret)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// mutations are the calls that changed something, since one.
func (o *occ) mutations(since int) (all []string) {
	reading := []string{"status", "user:info", "app:getpath", "oidc:list", "oidc:list-logout-redirect-uri", "app:enable", "group:adduser"}
	for _, c := range o.Calls[since:] {
		name := c.Args[2]
		if c.Exit == 0 && !slices.Contains(reading, name) && !(name == "user:setting" && len(c.Args) == 6) {
			all = append(all, strings.Join(c.Args[2:], " "))
		}
	}
	return all
}

func (o *occ) save(t *testing.T, file string) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadOcc(t *testing.T, file string) *occ {
	t.Helper()
	o := new(occ)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// files are the contents of a folder, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return name == ".lock" })
	return all
}
