#!/usr/bin/env bash
# Runs a whole installation on this machine: a Redis server, three API nodes, a proxy that sends each
# HTTP request to the next node, two runtimes with skills on their disks, and a device with a store
# of its own. All requests go through the proxy. Then it kills the device, a node and a runtime while
# they have work, and checks that nothing acknowledged is lost.
#
#   examples/cluster-demo.sh
#   REDIS_URL=redis://localhost:6379 examples/cluster-demo.sh   # on this server, below a new prefix
#   PATIENT=1 examples/cluster-demo.sh   # waits a minute, until the servers report timeouts
#
# Needs bash, Go, curl, and redis-server unless REDIS_URL is set. Exits with 0 only if all checks
# pass. KEEP=1 keeps the files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tmp=$(mktemp -d "${TMPDIR:-/tmp}/pendingq-cluster.XXXXXX")
skills=$tmp/server-skills
laptop=$tmp/laptop-skills
workstation=$tmp/workstation-skills
pids=()      # of all that was started, but for what has been killed
last_pid=''  # of what was started last
patience=${PATIENT:+5m}
patience=${patience:-12s}
lease=4s # of a backup

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
title() { printf '\n-- %s\n' "$*"; }

fail() {
  say "FAILED: $*" >&2
  exit 1
}

# shellcheck disable=SC2317  # the trap calls it
clean_up() {
  local status=$?
  trap - EXIT
  for pid in "${pids[@]}"; do
    kill -CONT "$pid" 2>/dev/null || true
    kill "$pid" 2>/dev/null || true
  done
  wait
  if [ "$status" -ne 0 ] || [ -n "${KEEP:-}" ]; then
    echo "Logs and files are in $tmp"
  else
    rm -rf "$tmp"
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND... runs a program in the background, with its output in a log.
start() {
  local log=$tmp/log/$1
  shift
  "$@" >>"$log" 2>&1 &
  last_pid=$!
  pids+=("$last_pid")
}

forget() {
  local kept=()
  for pid in "${pids[@]}"; do
    [ "$pid" = "$1" ] || kept+=("$pid")
  done
  pids=("${kept[@]}")
}

# kill_hard NAME PID ends a program as a power cut would.
kill_hard() {
  kill -9 "$2"
  wait "$2" 2>/dev/null || true
  forget "$2"
  say "kill -9 $1"
}

# until_log NAME PATTERN PID waits up to 15 s for a line in a program's log, while the program runs.
until_log() {
  for _ in $(seq 150); do
    grep -q "$2" "$tmp/log/$1" 2>/dev/null && return 0
    kill -0 "$3" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# listening NAME PID prints the address that a server has logged.
listening() {
  until_log "$1" 'msg=listening' "$2" || { cat "$tmp/log/$1" >&2; fail "$1 does not start"; }
  sed -n 's/.*msg=listening addr=\([0-9.:]*\).*/\1/p' "$tmp/log/$1" | tail -n 1
}

random_token() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

build() {
  mkdir -p "$tmp/bin" "$tmp/log" "$tmp/redis" "$skills" "$laptop" "$workstation"
  go build -o "$tmp/bin/" ./examples/server ./examples/proxy ./examples/daemon ./examples/device \
    ./examples/pendingctl
}

start_redis() {
  if [ -n "${REDIS_URL:-}" ]; then
    redis_url=$REDIS_URL
    say "Redis at the URL in REDIS_URL"
    return
  fi
  command -v redis-server >/dev/null || fail "no redis-server on PATH, and REDIS_URL is not set"
  for _ in 1 2 3 4 5; do
    local port=$((20000 + RANDOM % 30000)) # another program may have it, hence several attempts
    start redis redis-server --port "$port" --bind 127.0.0.1 --dir "$tmp/redis" --save '' --appendonly no
    if until_log redis 'Ready to accept connections' "$last_pid"; then
      redis_url=redis://127.0.0.1:$port
      say "redis-server on port $port"
      return
    fi
    forget "$last_pid"
  done
  fail "redis-server does not start"
}

write_tokens() {
  user_token=$(random_token)
  laptop_token=$(random_token)
  workstation_token=$(random_token)
  (
    umask 077
    cat >"$tmp/tokens.yaml" <<YAML
people:
  - {user: ada, token: $user_token, runtimes: {laptop: owner, workstation: owner}}
daemons:
  - {runtime: laptop, token: $laptop_token}
  - {runtime: workstation, token: $workstation_token}
YAML
    echo "Authorization: Bearer $user_token" >"$tmp/ada.header"
    echo "$laptop_token" >"$tmp/laptop.token"
    echo "$workstation_token" >"$tmp/workstation.token"
    cat >"$tmp/server.yaml" <<YAML
stores:
  - {name: backup, pending: 10m, running: $lease, retention: 1h, cancel_grace: 10s, max_attempts: 2}
YAML
  )
}

start_servers() {
  server_pids=()
  server_addrs=()
  for n in 1 2 3; do
    start "server-$n" "$tmp/bin/server" -listen 127.0.0.1:0 -backend "$redis_url" -prefix "demo-$$:" \
      -tokens "$tmp/tokens.yaml" -skills "$skills" -config "$tmp/server.yaml"
    server_pids+=("$last_pid")
  done
  for n in 1 2 3; do
    server_addrs+=("$(listening "server-$n" "${server_pids[n - 1]}")")
  done
  start proxy "$tmp/bin/proxy" -listen 127.0.0.1:0 "${server_addrs[@]/#/http://}"
  proxy_pid=$last_pid
  proxy=http://$(listening proxy "$proxy_pid")
  export PENDINGCTL_SERVER=$proxy PENDINGCTL_TOKEN=$user_token
  say "three API nodes at ${server_addrs[*]}, and a proxy in front of them at $proxy"
}

start_daemon() { # NAME ROOT
  start "daemon-$1" "$tmp/bin/daemon" -server "$proxy" -runtime "$1" -root "$2" -token-file "$tmp/$1.token" \
    -models "$tmp/models.json" -update-command "echo installed \$VERSION"
}

# start_device starts the device that makes the laptop's backups. It claims only from the store of
# backups.
start_device() {
  PENDINGQ_TOKEN=$laptop_token start device "$tmp/bin/device" -server "$proxy/pending" -id laptop -lease "$lease"
  device_pid=$last_pid
}

# make_skill FOLDER makes a skill with files that are easily damaged on their way.
make_skill() {
  local name=${1##*/}
  mkdir -p "$1/reference/deep" "$1/scripts"
  printf -- '---\nname: %s\ndescription: Generated for the demonstration\n---\n# %s\n' "$name" "$name" >"$1/SKILL.md"
  printf 'one\r\ntwo\r\n\r\nno newline at the end, %s' "$name" >"$1/reference/windows.md"
  printf '\xef\xbb\xbfBOM, \xc3\xa9, \xe6\xbc\xa2\xe5\xad\x97, \xf0\x9f\x8c\x8d <b>&amp;</b> \\ "quoted"\t\n' >"$1/reference/deep/text.md"
  : >"$1/scripts/empty.sh"
  seq 1 2000 >"$1/scripts/numbers.txt"
}

make_machines() {
  cat >"$tmp/models.json" <<'JSON'
[{"id": "small", "label": "Small", "default": true}, {"id": "large", "label": "Large"}]
JSON
  cp -R examples/quickstart/sample-skills/. "$laptop"
  for n in 1 2 3; do
    make_skill "$workstation/team/skill-$n"
  done
  for n in $(seq -w 24); do
    make_skill "$workstation/batch/skill-$n"
  done
}

ctl() { # RUNTIME ARGUMENTS...
  "$tmp/bin/pendingctl" -runtime "$@"
}

# shown prints a command's output below the command.
shown() {
  say "$ pendingctl -runtime $*"
  ctl "$@" 2>>"$tmp/log/pendingctl" | sed 's/^/         /' || fail "pendingctl $* (see its log)"
}

# until_online waits for a runtime's first heartbeats.
until_online() {
  for _ in $(seq 50); do
    ctl "$1" -timeout 10s models >/dev/null 2>>"$tmp/log/pendingctl" && return
    sleep 0.2
  done
  tail -n 3 "$tmp/log/daemon-$1" >&2
  fail "$1 does not come online"
}

keys() { ctl "$1" -timeout 30s skills list 2>>"$tmp/log/pendingctl" | awk 'NR > 1 { print $1 }'; }

# compare ROOT KEY SKILL [REQUEST] checks that a version of a skill on the server's disk equals the
# runtime's folder.
compare() {
  for version in "$skills"/*-"$3"/*/; do
    case $version in */"${4:-}"*/) diff -r "$1/$2" "$version" >>"$tmp/log/diff" && return ;; esac
  done
  fail "$2 on the server's disk is not what the runtime has"
}

use_everything() { # RUNTIME ROOT
  local imported
  shown "$1" ping
  shown "$1" models
  shown "$1" update 1.4.2
  shown "$1" skills list
  # shellcheck disable=SC2046  # keys have no spaces here
  ctl "$1" skills import $(keys "$1" | grep -v '^batch/') >"$tmp/$1.table" 2>>"$tmp/log/pendingctl" || fail "an import from $1"
  imported=$(awk 'NR > 1' "$tmp/$1.table" | wc -l)
  say "$ pendingctl -runtime $1 skills import ..."
  cut -c 1-110 "$tmp/$1.table" | sed 's/^/         /'
  while read -r key status request skill _; do
    [ "$status" = completed ] || fail "$key is $status"
    compare "$2" "$key" "$skill" "$request"
  done < <(awk 'NR > 1' "$tmp/$1.table")
  say "$((imported)) skills lie on the server's disk, byte for byte those of $1"
}

# pending PATH [BODY] reads from the API for any store, or posts a body to it. A front end in any
# language can do the same.
pending() {
  curl -sSN --fail-with-body --max-time 60 -H "@$tmp/ada.header" ${2:+-d "$2"} "$proxy/pending/requests$1"
}

field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# back_up FILES requests a backup of the laptop and prints the request's id. Each file takes the
# device 0.1 s.
back_up() { pending '?store=backup&mailbox=laptop' "{\"payload\":{\"files\":$1}}" | field id; }

# settled ID STATUS [ATTEMPT] waits until a backup has ended, and checks how.
settled() {
  local answer
  answer=$(pending "/$1?store=backup&wait=30s")
  [ "$(field status <<<"$answer")" = "$2" ] || fail "a backup is not $2 but $answer"
  [ "$(field attempt <<<"$answer")" = "${3:-$(field attempt <<<"$answer")}" ] || fail "not attempt $3: $answer"
  say "the backup is $2 at attempt $(field attempt <<<"$answer"): $(grep -o '"payload":.*' <<<"$answer")"
}

use_the_device() {
  local id
  say "a backup of 25 files; the front end watches the request"
  id=$(back_up 25)
  pending "/$id/events?store=backup" |
    sed -un 's/^data: .*"status":"\([a-z]*\)".*"payload":{\(.*\)}}$/         \1 \2/p'
  settled "$id" completed

  say "a backup of 600 files, which takes a minute"
  id=$(back_up 600)
  until_backup "$id" done '[1-9]*'
  say "it has $(pending "/$id?store=backup" | field done) files, and is cancelled"
  pending "/$id/cancel?store=backup" '{"reason": "no longer needed"}' >/dev/null
  settled "$id" cancelled
  # The device makes one backup at a time, so this one shows that it has stopped the other.
  id=$(back_up 1)
  settled "$id" completed
}

# until_backup ID FIELD PATTERN waits up to 15 s until a field of a backup matches a pattern.
until_backup() {
  for _ in $(seq 150); do
    # shellcheck disable=SC2053  # a pattern
    [[ $(pending "/$1?store=backup" | field "$2") != $3 ]] || return 0
    sleep 0.1
  done
  fail "the backup never has the $2 $3: $(pending "/$1?store=backup")"
}

# kill_the_device kills the device in the middle of a backup. Its request is claimed by another
# process, which continues after the last progress.
kill_the_device() {
  local id
  while :; do
    id=$(back_up 30)
    until_backup "$id" done '[1-9]*'
    kill -STOP "$device_pid" # the backup cannot end before the kill
    [ "$(pending "/$id?store=backup" | field status)" != running ] || break
    kill -CONT "$device_pid" # it has ended already, on a machine that stalls
  done
  say "a backup of 30 files; process $device_pid has made $(pending "/$id?store=backup" | field done) of them"
  kill_hard "process $device_pid, the device" "$device_pid"
  until_backup "$id" status pending
  say "its lease of $lease has expired: another process may claim the request"
  start_device
  say "process $device_pid, another device, is started"
  pending "/$id/events?store=backup" |
    sed -un 's/^data: .*"status":"\([a-z]*\)","attempt":\([0-9]*\).*"payload":{\(.*\)}}$/         \1, attempt \2: \3/p'
  settled "$id" completed 2
}

count_requests() {
  for addr in "${server_addrs[@]}"; do
    local n
    n=$(grep -c "msg=sent server=$addr" "$tmp/log/proxy" || true)
    say "$addr has answered $n requests"
    [ "$n" -gt 0 ] || fail "the proxy has left a server out"
  done
}

# until_held waits up to 15 s until the servers hold a heartbeat of each of the two daemons.
until_held() {
  local heartbeat='path=/api/daemon/heartbeat' sent answered
  for _ in $(seq 150); do
    sent=$(grep -c "msg=sending .*$heartbeat" "$tmp/log/proxy" || true)
    answered=$(grep -cE "msg=(sent|\"no answer\") .*$heartbeat" "$tmp/log/proxy" || true)
    [ $((sent - answered)) -lt 2 ] || return 0
    sleep 0.1
  done
  fail "no server holds a heartbeat of the workstation"
}

# hold_and_kill kills the workstation's daemon while it holds work, and a server that has waiters. It
# freezes the daemon first, so that the kill comes after the claims and before any work.
hold_and_kill() {
  local batch
  batch=$(keys workstation | grep '^batch/')
  backup=$(back_up 60)
  say "the laptop makes a backup of 60 files"
  until_held
  kill -STOP "$workstation_pid"
  say "the workstation freezes; $(wc -l <<<"$batch" | tr -d ' ') imports are asked for"
  # shellcheck disable=SC2086  # keys have no spaces here
  "$tmp/bin/pendingctl" -runtime workstation -timeout "$patience" skills import $batch >"$tmp/batch.table" 2>"$tmp/log/batch" &
  local asking=$!
  pids+=("$asking")
  until_log batch 'running since' "$asking" || fail "no server has handed out any of the batch"
  say "in its hands, as far as people know by now: $(grep -c 'running since' "$tmp/log/batch")"
  kill_hard "the workstation's daemon" "$workstation_pid"
  kill_hard "the server at ${server_addrs[1]}" "${server_pids[1]}"
  start_daemon workstation "$workstation"
  say "the workstation's daemon is started again; two servers are left"
  local status=0
  wait "$asking" || status=$?
  forget "$asking"
  [ "$status" -le 1 ] || fail "pendingctl exits with $status, see the log of the batch"
}

# settle FILE checks the completed rows of a table against the disk, and prints the other rows.
settle() {
  while read -r key status request skill _; do
    case $status in
      completed) compare "$workstation" "$key" "$skill" "$request" ;;
      conflict) compare "$workstation" "$key" "$skill" ;; # an earlier request for it was completed after all
      running | pending | timeout) echo "$key" ;;
      *) fail "$key is $status" ;;
    esac
  done < <(awk 'NR > 1' "$1")
}

nothing_is_lost() {
  local missing
  [ "$(awk 'NR > 1 && $3 != "-"' "$tmp/batch.table" | wc -l)" -eq 24 ] || fail "not all of the batch was acknowledged"
  missing=$(settle "$tmp/batch.table")
  say "all 24 were acknowledged; $((24 - $(wc -w <<<"$missing"))) have been completed, and lie on the server's disk"
  for key in $missing; do
    say "$key died with the daemon, and pendingctl said so: $(sed -n "s|^pendingctl: import of $key: ||p" "$tmp/log/batch" | tail -n 1)"
  done
  for _ in 1 2 3; do
    [ -n "$missing" ] || break
    say "asked again: $(wc -w <<<"$missing" | tr -d ' ')"
    # shellcheck disable=SC2086
    ctl workstation -timeout "$patience" skills import $missing >"$tmp/again.table" 2>>"$tmp/log/batch" || true
    missing=$(settle "$tmp/again.table")
  done
  [ -z "$missing" ] || fail "not answered even then: $missing"
  say "all 24 skills of the batch lie on the server's disk, byte for byte"
  settled "$backup" completed
  shown workstation ping
  shown laptop ping
}

# stop_servers ends what is left as an operator would, and checks that it ends well.
stop_servers() {
  for pid in "${server_pids[0]}" "${server_pids[2]}" "$proxy_pid"; do
    local status=0
    kill "$pid"
    wait "$pid" || status=$?
    forget "$pid"
    [ "$status" -eq 0 ] || fail "a server exits with $status when it is told to"
  done
  say "the servers and the proxy have ended well"
}

title "Starting"
build
say "programs are built"
start_redis
write_tokens
make_machines
start_servers
start_daemon laptop "$laptop"
start_daemon workstation "$workstation"
workstation_pid=$last_pid
start_device
until_online laptop
until_online workstation
say "two runtimes are online: laptop and workstation; a device makes the laptop's backups"

title "Everything is asked for, each step at the next server"
use_everything laptop "$laptop"
use_everything workstation "$workstation"
count_requests

title "A store of one's own: backups with progress, and a cancel that reaches the device"
use_the_device

title "The device is killed in the middle of a backup"
kill_the_device

title "A server and a runtime are killed in the middle of a batch"
hold_and_kill
nothing_is_lost

title "The end"
stop_servers
say "All of it held."
