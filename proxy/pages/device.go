package pages

import (
	"regexp"

	"github.com/mileusna/useragent"
)

// Device names the browser and the system that sent a User-Agent header
// (RFC 9110 §10.1.5) in the first language: "Firefox on Windows". Whatever was
// sent, the answer is short and of letters, digits, spaces, dots and dashes.
func (p *Pages) Device(agent string) string {
	words, err := p.languages.catalogs[0].device(agent)
	if err != nil { // the program was built wrong, and its tests failed
		return ""
	}
	return words
}

// device is Device in one language.
func (c *catalog) device(agent string) (string, error) {
	browser, system := read(agent)
	switch {
	case browser != "" && system != "":
		return c.text("device.on", "browser", browser, "system", system)
	case browser != "":
		return browser, nil
	case system != "":
		return c.text("device.some", "system", system)
	}
	return c.text("device.unknown")
}

// programName is a name that may be shown although it is not on a list.
var programName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 ._-]{1,31}$`)

// read takes a User-Agent apart; what cannot be told is "".
func read(agent string) (browser, system string) {
	ua := useragent.Parse(agent)
	if programName.MatchString(ua.Name) {
		browser = ua.Name
	}
	switch ua.Name {
	case "Trident":
		browser = useragent.InternetExplorer
	case "Mobile DuckDuckGo":
		browser = "DuckDuckGo"
	}
	switch {
	case ua.OS == useragent.IOS: // by their own names: nobody says iOS
		system = ua.Device
	default:
		system = ua.OS // one of the library's own constants
	}
	return browser, system
}
