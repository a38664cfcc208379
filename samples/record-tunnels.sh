#!/usr/bin/env bash
# Records samples/tunnels/: real tunnels between two network namespaces, iodine in
# several record types, dns2tcp and ptunnel-ng, and beside them what looks like one
# and is none: a ping, and questions of an ordinary day. Writes what must be found
# in each from the steps below. Needs root, /dev/net/tun, iproute2, tcpdump, iodine,
# dns2tcp, ptunnel-ng, iputils-ping and python3. Nothing leaves the namespaces.
set -euo pipefail
samples=$(cd "$(dirname "$0")" && pwd)
out=${1:-$samples/tunnels}
work=$(mktemp -d)
client=nsf-client-$$ server=nsf-server-$$
domain=t.tunnel.example
started=()

cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ip netns delete "$client" 2>/dev/null || true
  ip netns delete "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

on_client() { ip netns exec "$client" "$@"; }
serve() {
  ip netns exec "$server" "$@" >>"$work/log" 2>&1 &
  started+=($!)
}

ip netns add "$client"
ip netns add "$server"
ip -n "$client" link add cable type veth peer name cable netns "$server"
ip -n "$client" address add 10.20.0.7/24 dev cable
ip -n "$server" address add 10.20.0.53/24 dev cable
for namespace in "$client" "$server"; do
  ip -n "$namespace" link set lo up
  ip -n "$namespace" link set cable up
done

# record NAME SECONDS COMMAND...: what crosses the cable while COMMAND runs.
record() {
  local name=$1 seconds=$2 dump
  shift 2
  ip netns exec "$client" tcpdump -i cable -U -s 0 -w "$out/$name.pcap" 'udp port 53 or icmp' 2>>"$work/log" &
  dump=$!
  sleep 0.7
  timeout --kill-after=2 "$seconds" "$@" >>"$work/log" 2>&1 || true
  sleep 0.5
  kill "$dump"
  wait "$dump" 2>/dev/null || true
}

# expect NAME CHECK SEVERITY: the finding that the capture must give; without a
# check, that none of the six detectors of tunnels and masters finds anything.
expect() {
  local checks='"NS-04.dns_tunneling": {"failed": 0}, "NS-04.icmp_tunneling": {"failed": 0}'
  local worst=''
  if [ $# = 3 ]; then
    checks="\"$2\": {\"failed\": 1}"
    worst="\"$2\": \"$3\""
  fi
  cat >"$out/$1.expect.json" <<JSON
{
  "capture": "$1.pcap",
  "checks": {$checks},
  "worst": {$worst}
}
JSON
}

# through TYPE: a tunnel of iodine in records of this type, and a ping through it.
through() {
  local type=$1 pid
  ip netns exec "$client" iodine -f -P not-a-secret -r -T "$type" -m 200 10.20.0.53 $domain >>"$work/log" 2>&1 &
  pid=$!
  sleep 3
  on_client ping -c 4 -i 0.3 -W 1 10.99.0.1
  kill "$pid"
  wait "$pid" 2>/dev/null || true
}

mkdir -p "$out"
serve iodined -f -c -P not-a-secret -l 10.20.0.53 10.99.0.1 $domain
iodined=${started[-1]}
sleep 1
for type in NULL TXT CNAME MX A; do
  name=iodine-$(echo $type | tr '[:upper:]' '[:lower:]')
  record "$name" 9 bash -c "$(declare -f through on_client); client=$client domain=$domain work=$work; through $type"
  # A registered domain of its own, from one client: one finding.
  expect "$name" NS-04.dns_tunneling high
done
kill "$iodined"
sleep 0.5

# dns2tcp in TXT and KEY: an echo service behind the tunnel.
cat >"$work/echo.py" <<'PYTHON'
import socket
listener = socket.create_server(("127.0.0.1", 7007))
while True:
    peer, _ = listener.accept()
    while data := peer.recv(4096):
        peer.sendall(data)
PYTHON
cat >"$work/talk.py" <<'PYTHON'
import socket, sys, time
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.settimeout(2)
for number in range(8):
    peer.sendall(b"line %d of nothing secret, sixty-four bytes of it or so\n" % number)
    try:
        peer.recv(4096)
    except TimeoutError:
        pass
    time.sleep(0.2)
PYTHON
serve python3 "$work/echo.py"
cat >"$work/dns2tcpd.conf" <<CONF
listen = 10.20.0.53
port = 53
user = nobody
chroot = /tmp
domain = $domain
resources = echo:127.0.0.1:7007
CONF
serve dns2tcpd -F -f "$work/dns2tcpd.conf"
sleep 1
talk() {
  local type=$1 pid
  ip netns exec "$client" dns2tcpc -z $domain -r echo -l 7070 -T "$type" -d 1 10.20.0.53 >>"$work/log" 2>&1 &
  pid=$!
  sleep 1
  on_client python3 "$work/talk.py" 7070
  kill "$pid"
  wait "$pid" 2>/dev/null || true
}
for type in TXT KEY; do
  name=dns2tcp-$(echo $type | tr '[:upper:]' '[:lower:]')
  record "$name" 8 bash -c "$(declare -f talk on_client); client=$client domain=$domain work=$work; talk $type"
  expect "$name" NS-04.dns_tunneling high
done

# ptunnel-ng: the same echo service over ICMP.
serve ptunnel-ng -r127.0.0.1 -R7007
sleep 1
over_icmp() {
  local pid
  ip netns exec "$client" ptunnel-ng -p10.20.0.53 -l7171 -r127.0.0.1 -R7007 >>"$work/log" 2>&1 &
  pid=$!
  sleep 1
  on_client python3 "$work/talk.py" 7171
  kill "$pid"
  wait "$pid" 2>/dev/null || true
}
record ptunnel-ng 9 bash -c "$(declare -f over_icmp on_client); client=$client work=$work; over_icmp"
expect ptunnel-ng NS-04.icmp_tunneling high

# What is none: an ordinary ping, and one of many sizes.
record ping 20 bash -c "ip netns exec $client ping -c 40 -i 0.05 10.20.0.53; for size in 64 200 500 1000 1400; do ip netns exec $client ping -c 3 -i 0.05 -s \$size 10.20.0.53; done"
expect ping
chmod 644 "$out"/*
ls -l "$out"
