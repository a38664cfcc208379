#!/usr/bin/env bash
# Records agent-api.pcap.zst: curl as an agent would call a server of the Model
# Context Protocol, a model's API, a registry and a code host, all of which are
# api.py. What a row must say of each call stands beside it, and in
# agent-api.expect.json, which this script does not touch. Needs root, iproute2,
# tcpdump, curl, python3, zstd.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples}

call() { # call STATUS CURL-ARGUMENTS...: fails unless it is answered so
  local expected=$1 status
  shift
  status=$(inside curl --silent --max-time 20 --output /dev/null \
    --user-agent agent/7 --write-out '%{http_code}' "$@" || true)
  [ "$status" = "$expected" ] || { echo "expected $expected, got $status: $*" >&2; exit 1; }
}

alone
serve python3 -B "$samples/api.py" 8100 agent not-a-secret-of-anyone
sleep 2
start agent-api 'tcp port 8100'

here=http://127.0.0.1:8100
json=(-H 'content-type: application/json')
events=(-H 'accept: application/json, text/event-stream')
session=(-H 'mcp-session-id: 5f0c6a52-7c0e-4e0e-9d5b-1f1f5a3f9b11' -H 'mcp-protocol-version: 2025-06-18')
rpc() { printf '{"jsonrpc":"2.0"%s,"method":"%s","params":%s}' "$1" "$2" "$3"; }
key=(-H 'authorization: Bearer not-a-secret-of-anyone')
asks='"messages":[{"role":"user","content":"What is the weather in Utrecht?"}]'

#  1     mcp, rpc_method initialize; answered by events
call 200 "${json[@]}" "${events[@]}" -d "$(rpc ',"id":1' initialize '{"protocolVersion":"2025-06-18"}')" $here/mcp
#  2     mcp, notifications/initialized: taken, nothing to say
call 202 "${json[@]}" "${session[@]}" -d "$(rpc '' notifications/initialized '{}')" $here/mcp
#  3     mcp, tools/list; answered by JSON
call 200 "${json[@]}" "${session[@]}" -d "$(rpc ',"id":2' tools/list '{}')" $here/mcp
#  4     mcp, tools/call; answered by events. Neither what is asked nor the answer is kept
call 200 "${json[@]}" "${events[@]}" "${session[@]}" \
  -d "$(rpc ',"id":3' tools/call '{"name":"weather","arguments":{"city":"Utrecht"}}')" $here/mcp
#  5, 6  mcp, no method: a stream of the server's own is refused, the session is ended
call 405 "${events[@]}" "${session[@]}" $here/mcp
call 200 -X DELETE "${session[@]}" $here/mcp
#  7     llm by its path, model small-7b
call 200 "${json[@]}" "${key[@]}" -d "{\"model\":\"small-7b\",$asks}" $here/v1/chat/completions
#  8     llm, model small-7b, answered by events
call 200 "${json[@]}" "${key[@]}" -d "{$asks,\"stream\":true,\"model\":\"small-7b\"}" $here/v1/chat/completions
#  9     llm, the model in the path
call 200 "${json[@]}" -H 'api-key: not-a-secret-of-anyone' -d "{$asks}" \
  "$here/openai/deployments/team-model/chat/completions?api-version=2024-10-21"
#  10    llm by its name
call 200 -H 'host: api.openai.com' "${key[@]}" $here/v1/models
#  11    package_registry
call 200 -H 'host: pypi.org' $here/simple/requests/
#  12    code_host
call 200 -H 'host: github.com' "$here/org/repo.git/info/refs?service=git-upload-pack"
#  13    none of them
call 200 -H 'host: weather.example' $here/today

stop
zstd -q -19 -f "$work/agent-api.pcap" -o "$out/agent-api.pcap.zst"
