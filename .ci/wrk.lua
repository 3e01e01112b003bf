-- For wrk(1): compares the body of each response with the file that is named as the argument. Exits
-- with 1 if one differs or a connection fails, and with 3 if there is none.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    expected = file:read("*a")
    file:close()
    same, different = 0, 0
end

function response(status, headers, body)
    if status == 200 and body == expected then
        same = same + 1
    else
        different = different + 1
    end
end

function done(summary, latency, requests)
    local same, different = 0, 0
    for _, thread in ipairs(threads) do
        same = same + thread:get("same")
        different = different + thread:get("different")
    end
    print(same .. " responses were right, " .. different .. " were not")
    local failed = different
    for _, count in pairs(summary.errors) do
        failed = failed + count
    end
    if failed > 0 then
        os.exit(1)
    elseif same == 0 then
        os.exit(3)
    end
end
