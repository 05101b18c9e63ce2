-- Scripts run inside Redis. They use the functions of shared/, which script.go joins to them.
std = "lua51"
max_line_length = 110
read_globals = { "redis", "KEYS", "ARGV" }
files["*.lua"].read_globals = {
  "discard", "find_expired", "keep", "payload_key", "settle",
  "state_of", "wake",
}
files["shared/*.lua"] = { ignore = { "211" }, read_globals = { "payload_key", "state_of" } }
