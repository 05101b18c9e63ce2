-- Scripts run inside Redis. They use the functions of shared, which script.go joins to them.
std = "lua51"
max_line_length = 100
read_globals = { "redis", "KEYS", "ARGV" }
files["backends/goredis/scripts/*.lua"] = {
  read_globals = {
    "discard", "find_expired", "headers_end", "is_moving", "keep", "note_end", "payload_key",
    "refusal", "settle", "state_of", "wake",
  },
}
files["backends/goredis/scripts/shared/*.lua"] = {
  ignore = { "211" }, -- a function that only the scripts use
  read_globals = { "payload_key", "state_of" },
}
