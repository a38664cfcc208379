# Sourced by the scripts that record: network namespaces of their own that reach
# nothing else, servers that end with the script, and captures of what passes.
# Needs root, iproute2, tcpdump and python3.
set -euo pipefail
samples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pki=$samples/pki
work=$(mktemp -d)
chmod 755 "$work" # servers that give up root read there
near=nsf-near-$$ far=$near wire=lo

cleanup() {
  local namespace pid
  for namespace in "$near" "$far"; do
    # Whatever runs there was started here, also by a subshell.
    for pid in $(ip netns pids "$namespace" 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
  done
  wait 2>/dev/null || true
  for namespace in "$near" "$far"; do
    ip netns delete "$namespace" 2>/dev/null || true
    rm -rf "/etc/netns/$namespace"
  done
  rm -rf "$work"
}
trap cleanup EXIT

inside() { ip netns exec "$near" "$@"; }
serve() { # serve COMMAND...: at the other end of the wire, until the script ends
  ip netns exec "$far" "$@" >>"$work/servers.log" 2>&1 &
  server=$!
}
end() { # end PID: and wait for it
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

alone() { # alone [MTU]: one namespace; what passes goes over its loopback
  ip netns add "$near"
  ip -n "$near" link set lo up mtu "${1:-65536}"
}

cable() { # cable ADDRESS...: two namespaces; 10.20.0.7 here, these addresses there
  far=nsf-far-$$ wire=cable
  ip netns add "$near"
  ip netns add "$far"
  ip -n "$near" link add cable type veth peer name cable netns "$far"
  ip -n "$near" address add 10.20.0.7/24 dev cable
  for address in "$@"; do
    ip -n "$far" address add "$address/24" dev cable
  done
  for namespace in "$near" "$far"; do
    ip -n "$namespace" link set lo up
    ip -n "$namespace" link set cable up
    # Whole checksums and packets of the size that a cable would carry.
    ip netns exec "$namespace" python3 - <<'PYTHON'
import array, fcntl, socket, struct
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# linux/ethtool.h: ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO; SIOCETHTOOL.
for command in (0x17, 0x1F, 0x24):
    value = array.array("B", struct.pack("II", command, 0))
    request = struct.pack("16sP", b"cable", value.buffer_info()[0])
    fcntl.ioctl(sock, 0x8946, request)
PYTHON
  done
}

web() { # web: nginx, with what stands on standard input inside http { }
  {
    cat <<CONF
daemon off; pid $work/nginx.pid; error_log $work/nginx.log; user root;
events {}
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
CONF
    cat
    echo '}'
  } >"$work/nginx.conf"
  serve nginx -p "$work" -c "$work/nginx.conf"
}

resolver() { # resolver ADDRESS NAME=ADDRESS...: answers for these names, and is asked here
  mkdir -p "/etc/netns/$near"
  echo "nameserver $1" >"/etc/netns/$near/resolv.conf"
  serve python3 -B "$samples/resolver.py" "$1" "$pki/rsa.pem" "$pki/rsa.key" "${@:2}"
}

start() { # start NAME FILTER: records to $work/NAME.pcap until `stop`
  ip netns exec "$near" tcpdump -Z root --immediate-mode -U -n -s 0 -i "$wire" -w "$work/$1.pcap" "$2" \
    2>>"$work/tcpdump.log" &
  recorder=$!
  sleep 1
}
stop() {
  sleep 1
  kill -INT "$recorder"
  wait "$recorder" || true
}
