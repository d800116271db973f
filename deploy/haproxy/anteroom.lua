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

-- What is of the connection or the body, and not asked about. All else is: Anteroom
-- refuses a request whose headers the application must not see.
local left_out = {
	["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
	["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
}

-- HAProxy counts a header's values from 0.
local function first(headers, name)
	return headers[name] and headers[name][0] or ""
end

local function list(headers, name)
	local values = {}
	while headers[name][#values] ~= nil do
		values[#values + 1] = headers[name][#values]
	end
	return values
end

core.register_action("anteroom_check", { "http-req" }, function(txn, url)
	txn:set_var("txn.anteroom", "away")
	local client = txn.http:req_get_headers()
	local question = {}
	for name in pairs(client) do
		if not left_out[name] then question[name] = list(client, name) end
	end
	question["x-forwarded-method"], question["x-forwarded-uri"] = { txn.sf:method() }, { txn.sf:pathq() }
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
