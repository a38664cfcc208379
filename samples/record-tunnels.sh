#!/usr/bin/env bash
# Records samples/tunnels/: real tunnels between two network namespaces, iodine in
# several record types, dns2tcp and ptunnel-ng, a file in the patterns of pings, and
# beside them what looks like one and is none: pings. Writes what must be found in
# each from the steps below. Needs root, /dev/net/tun, iproute2, tcpdump, iodine,
# dns2tcp, ptunnel-ng, iputils-ping, xxd and python3. Nothing leaves the namespaces.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples/tunnels}
domain=t.tunnel.example
mkdir -p "$out"
cable 10.20.0.53

# record NAME COMMAND...: what crosses the cable while COMMAND runs.
record() {
  local name=$1
  shift
  start "$name" 'udp port 53 or icmp'
  "$@" >>"$work/clients.log" 2>&1 || true
  stop
  cp "$work/$name.pcap" "$out/$name.pcap"
}
behind() { # behind COMMAND...: a tunnel's client, ended by the next `end $tunnel`
  inside "$@" >>"$work/clients.log" 2>&1 &
  tunnel=$!
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

# A tunnel of iodine in records of each type, and a ping through it.
through() { # through TYPE
  behind iodine -f -P not-a-secret -r -T "$1" -m 200 10.20.0.53 $domain
  sleep 3
  inside ping -c 4 -i 0.3 -W 1 10.99.0.1
  end "$tunnel"
}
serve iodined -f -c -P not-a-secret -l 10.20.0.53 10.99.0.1 $domain
iodined=$server
sleep 1
for type in NULL PRIVATE TXT SRV MX CNAME A; do
  name=iodine-${type,,}
  record "$name" through $type
  # A registered domain of its own, from one client: one finding.
  expect "$name" NS-04.dns_tunneling high
done
end "$iodined"

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
talk() { # talk TYPE
  behind dns2tcpc -z $domain -r echo -l 7070 -T "$1" -d 1 10.20.0.53
  sleep 1
  inside timeout 6 python3 "$work/talk.py" 7070 || true
  end "$tunnel"
}
for type in TXT KEY; do
  name=dns2tcp-${type,,}
  record "$name" talk $type
  expect "$name" NS-04.dns_tunneling high
done

# ptunnel-ng: the same echo service over ICMP.
over_icmp() {
  behind ptunnel-ng -p10.20.0.53 -l7171 -r127.0.0.1 -R7007
  sleep 1
  inside timeout 6 python3 "$work/talk.py" 7171 || true
  end "$tunnel"
}
serve ptunnel-ng -r127.0.0.1 -R7007
ptunnel=$server
sleep 1
record ptunnel-ng over_icmp
expect ptunnel-ng NS-04.icmp_tunneling high
end "$ptunnel"

# A file in the patterns of ordinary pings, sixteen bytes in each: nothing but ping is
# needed, and every one is a process of its own.
by_ping() {
  head -c 1024 "$samples/README.md" | xxd -p -c 16 |
    while read -r line; do inside ping -c 1 -W 1 -p "$line" 10.20.0.53; done
}
record ping-data by_ping
expect ping-data NS-04.icmp_tunneling medium

# What is none: an ordinary ping, one of many sizes, and two programs in turn.
pings() {
  inside ping -c 40 -i 0.05 10.20.0.53
  for size in 64 200 500 1000 1400; do inside ping -c 3 -i 0.05 -s $size 10.20.0.53; done
}
record ping pings
expect ping
in_turn() {
  inside ping -c 90 -i 0.05 -p 6d 10.20.0.53 &
  local other=$!
  inside ping -c 90 -i 0.05 10.20.0.53
  wait $other
}
record ping-in-turn in_turn
expect ping-in-turn
chmod 644 "$out"/*
