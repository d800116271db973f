package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// problem is the RFC 9457 document of every refusal, as the gate writes it.
type problem struct {
	Type      string `json:"type" format:"uri-reference" doc:"about:blank: the status and the reason say all there is"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty" doc:"what to do about it, for people"`
	Reason    string `json:"reason" doc:"one of a closed set of words, for programs"`
	Field     string `json:"field,omitempty" doc:"the parameter or member of the body that is at fault"`
	SignIn    string `json:"sign_in,omitempty" doc:"on a 401: where a person signs in"`
	RequestID string `json:"request_id" doc:"as in the logs"`
}

// describing are the operations about the API itself.
func (a *API) describing() []*operation {
	type nobody struct{}
	return []*operation{operate(operation{ID: "describe", Method: http.MethodGet, Path: "/openapi.json", Summary: "This document"},
		func(x *exchange, _ *nobody) error {
			x.begin(http.StatusOK, "application/json")
			if x.r.Method != http.MethodHead {
				x.w.Write(a.document)
			}
			return nil
		}, bytesOf(http.StatusOK, "application/json"))}
}

var sectionNames = map[string]string{"webdav": "files", "caldav": "calendars", "carddav": "contacts", "mail": "mail", "directory": "people", "": "description"}

// describe makes the OpenAPI 3.1 document of all operations.
func (a *API) describe() ([]byte, error) {
	s := schemas{}
	s.named(reflect.TypeFor[problem](), false)
	paths := object{}
	for _, op := range a.ops {
		at := Prefix + op.Path
		item, ok := paths[at].(object)
		if !ok {
			item = object{}
			paths[at] = item
		}
		method := strings.ToLower(op.Method)
		if _, twice := item[method]; twice {
			return nil, fmt.Errorf("two operations at %s %s", op.Method, at)
		}
		item[method] = op.describe(s)
	}
	version := a.o.Version
	if version == "" {
		version = "0"
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{"title": "Anteroom: Nextcloud for programs", "version": version,
			"description": "Files, calendars, contacts, mail and people of a Nextcloud, without a Nextcloud credential. Every refusal is an RFC 9457 problem document. Lists that end with a cursor go on where it is given back."},
		"servers":    []object{{"url": a.o.Access.Public}},
		"security":   []object{{"client": []string{}}, {"token": []string{}}, {"session": []string{}}},
		"paths":      paths,
		"components": object{"schemas": s, "securitySchemes": a.securitySchemes()},
	}, "", " ")
}

func (a *API) securitySchemes() object {
	return object{
		"client":  object{"type": "http", "scheme": "basic", "description": "a client's name and secret (clients), or a person's login name and app password"},
		"token":   object{"type": "http", "scheme": "bearer", "description": "a client's secret alone, an identity JWT from /auth/token, or the provider's access token"},
		"session": object{"type": "apiKey", "in": "cookie", "name": a.o.Cookie, "description": "a person's session; changes need a request from this site's own pages"},
	}
}

func (op *operation) describe(s schemas) object {
	o := object{"operationId": op.ID, "summary": op.Summary, "tags": []string{sectionNames[op.Section]}}
	var params []object
	for _, f := range fields(op.in) {
		from, name := origin(f)
		switch {
		case from != "":
			schema := s.of(f.Type, f.Tag, true)
			p := object{"name": name, "in": from, "schema": schema}
			if doc, ok := schema["description"]; ok {
				p["description"] = doc
				delete(schema, "description")
			}
			if from == "path" || f.Tag.Get("required") == "true" {
				p["required"] = true
			}
			params = append(params, p)
		case f.Tag.Get("body") == "json":
			o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(f.Type, "", true)}}}
		case f.Tag.Get("body") == "stream":
			o["requestBody"] = object{"required": true, "description": f.Tag.Get("doc"), "content": object{"*/*": object{}}}
		}
	}
	if params != nil {
		o["parameters"] = params
	}
	responses := object{"default": object{"description": "A refusal", "content": object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}}}}
	for _, a := range op.answers {
		responses[strconv.Itoa(a.status)] = a.describe(s)
	}
	o["responses"] = responses
	return o
}

func (a answer) describe(s schemas) object {
	o := object{"description": http.StatusText(a.status)}
	switch {
	case a.body != nil:
		o["content"] = object{a.media: object{"schema": s.of(a.body, "", false)}}
	case a.media != "":
		o["content"] = object{a.media: object{}}
	}
	headers := object{}
	for _, name := range a.headers {
		headers[name] = object{"schema": object{"type": "string"}}
	}
	if len(headers) > 0 {
		o["headers"] = headers
	}
	return o
}
