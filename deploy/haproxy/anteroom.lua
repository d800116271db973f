-- Asks Anteroom whether a request may pass, and tells the application who makes
-- it. For "http-request lua.anteroom_check URL"; sets
--
--   txn.anteroom           yes or no; anything else: it could not be told
--   txn.anteroom_status    the status of a no
--   txn.anteroom_location  where a browser is to sign in
--   txn.anteroom_session   a Set-Cookie for the answer

-- What the answer says in place of the client.
local told = {
	"x-forwarded-user", "x-forwarded-preferred-username", "x-forwarded-email", "x-forwarded-name",
	"x-forwarded-groups", "x-forwarded-groups-truncated", "authorization", "cookie", "x-request-id",
}

-- What the answer may depend on, besides the question itself.
local asked = {
	"authorization", "accept", "accept-language", "user-agent", "origin", "upgrade", "x-requested-with", "x-request-id", "traceparent", "tracestate",
	"sec-fetch-mode", "sec-fetch-dest", "sec-fetch-site", "sec-websocket-key", "sec-websocket-version",
	"x-http-method-override", "x-http-method", "x-method-override",
	"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}

-- HAProxy counts a header's values from 0.
local function first(headers, name)
	return headers[name] and headers[name][0] or ""
end

local function list(headers, name)
	local values = {}
	for i = 0, 63 do
		if not headers[name] or headers[name][i] == nil then break end
		values[#values + 1] = headers[name][i]
	end
	return values
end

core.register_action("anteroom_check", { "http-req" }, function(txn, url)
	txn:set_var("txn.anteroom", "away")
	local client = txn.http:req_get_headers()
	local question = { ["x-forwarded-method"] = { txn.sf:method() }, ["x-forwarded-uri"] = { txn.sf:pathq() } }
	for _, name in ipairs(asked) do
		if client[name] then question[name] = list(client, name) end
	end
	if client["cookie"] then question["cookie"] = { table.concat(list(client, "cookie"), "; ") } end

	local answer = core.httpclient():get { url = url, headers = question, timeout = 5000 }
	if not answer or not answer.status or answer.status == 0 then return end

	if answer.status == 200 then
		for _, name in ipairs(told) do
			txn.http:req_del_header(name)
			local value = first(answer.headers, name)
			if value ~= "" then txn.http:req_set_header(name, value) end
		end
		if answer.headers["set-cookie"] then txn:set_var("txn.anteroom_session", first(answer.headers, "set-cookie")) end
		txn:set_var("txn.anteroom", "yes")
	elseif answer.status == 401 or answer.status == 403 then
		local location = first(answer.headers, "location")
		if location ~= "" then txn:set_var("txn.anteroom_location", location) end
		txn:set_var("txn.anteroom_status", answer.status)
		txn:set_var("txn.anteroom", "no")
	end
end, 1)
