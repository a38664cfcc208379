#!/usr/bin/env bash
# Records samples/background/: what a host does all day that nobody should be woken
# for, by real programs in two network namespaces. None of it may give an open finding
# of NS-04 of medium severity or higher. Needs root, iproute2, tcpdump, python3 with
# pip, openssl, nginx, curl, chrony, apt, apt-utils, dpkg and zstd.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples/background}
mkdir -p "$out"
gateway=10.20.0.53 mirror=10.20.0.20 page=10.20.0.21 status=10.20.0.22 clock=10.20.0.23
cable $gateway $mirror $page $status $clock
resolver $gateway deb.mirror.example=$mirror pypi.mirror.example=$mirror files.mirror.example=$mirror \
  page.example=$page ocsp.example=$status time.example=$clock clock.example=$gateway

# A repository of Debian packages, made of the texts that lie here, an index of
# Python's, and an archive.
pool=$work/www/pool
mkdir -p "$pool" "$work/www/dists/stable/main/binary-all" "$work/www/simple/sample-tool" "$work/www/page"
for number in 1 2 3 4; do
  package=$work/package-$number
  mkdir -p "$package/DEBIAN" "$package/usr/share/sample-$number"
  cp "$samples"/*.py "$samples"/*.sh "$package/usr/share/sample-$number/"
  cat >"$package/DEBIAN/control" <<CONTROL
Package: sample-$number
Version: 1.$number
Architecture: all
Maintainer: nobody <nobody@mirror.example>
Description: a package of the samples
CONTROL
  dpkg-deb --root-owner-group --build "$package" "$pool/sample-${number}_1.${number}_all.deb" >/dev/null
done
(
  cd "$work/www"
  apt-ftparchive packages pool | tee dists/stable/main/binary-all/Packages | gzip -9n \
    >dists/stable/main/binary-all/Packages.gz
  apt-ftparchive -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Architectures=all release dists/stable >"$work/Release"
  mv "$work/Release" dists/stable/Release
)
python3 -B - "$work/www/simple/sample-tool" <<'PYTHON'
import pathlib
import sys
import zipfile

folder = pathlib.Path(sys.argv[1])
name, info = "sample_tool-1.0-py3-none-any.whl", "sample_tool-1.0.dist-info"
with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as wheel:
    wheel.writestr("sample_tool.py", "".join(f"ROW_{n} = {n * n}\n" for n in range(3000)))
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sample-tool\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
(folder / "index.html").write_text(f'<a href="{name}">{name}</a>\n')
PYTHON
tar -cJf "$work/www/tool.tar.xz" -C "$samples" --sort=name $(cd "$samples" && ls *.py *.sh)
printf '<html><link rel="stylesheet" href="/style.css"><script src="/poll.js"></script></html>\n' \
  >"$work/www/page/index.html"
printf 'body { color: black }\n' >"$work/www/page/style.css"
printf 'setInterval(() => fetch("/news"), 1000)\n' >"$work/www/page/poll.js"
printf '{"news":[]}\n' >"$work/www/page/news"

web <<CONF
  types { text/html html; text/css css; application/javascript js; application/vnd.debian.binary-package deb; }
  default_type application/octet-stream;
  server { listen $mirror:80; root $work/www; }
  server { listen $page:80; root $work/www/page; location = /news { default_type application/json; } }
  server { listen $status:80; location / { proxy_pass http://127.0.0.1:8888; } }
CONF
# Certificate status: the samples' leaf is good.
printf 'V\t%s\t\t%s\tunknown\t/CN=api.llm.example\n' \
  "$(date -u -d "$(openssl x509 -in "$pki/rsa.pem" -noout -enddate | cut -d= -f2)" +%y%m%d%H%M%SZ)" \
  "$(openssl x509 -in "$pki/rsa.pem" -noout -serial | cut -d= -f2)" >"$work/index.txt"
serve openssl ocsp -index "$work/index.txt" -port 8888 -CA "$pki/ca.pem" -rsigner "$pki/ca.pem" \
  -rkey "$pki/ca.key" -ndays 1
printf '%s\n' 'local stratum 3' 'allow' 'cmdport 0' "pidfile $work/chronyd-far.pid" 'bindcmdaddress /' \
  >"$work/clock.conf"
serve chronyd -x -d -u root -f "$work/clock.conf"
sleep 2

# record NAME COMMAND...: the expectation is the same of each.
record() {
  local name=$1
  shift
  start "$name" 'tcp or udp'
  "$@" >>"$work/clients.log" 2>&1
  stop
  zstd -q -19 -f "$work/$name.pcap" -o "$out/$name.pcap.zst"
  printf '{\n  "made_by": "samples/record-background.sh",\n  "capture": "%s.pcap.zst",\n  "findings": {"NS-04": []}\n}\n' \
    "$name" >"$out/$name.expect.json"
}

# clocks SECONDS: chronyd asks two servers every second, as it does every minute of a day.
clocks() {
  printf '%s\n' 'server time.example minpoll 0 maxpoll 0 iburst' 'server clock.example minpoll 0 maxpoll 0 iburst' \
    'cmdport 0' 'bindcmdaddress /' "pidfile $work/chronyd-near.pid" >"$work/client.conf"
  inside timeout "$1" chronyd -x -d -u root -f "$work/client.conf" || true
}
record chrony clocks 25

# apt looks for news three times, and fetches packages.
apt() {
  local state=$work/apt
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/etc"
  echo 'deb [trusted=yes arch=all] http://deb.mirror.example/ stable main' >"$state/etc/sources.list"
  : >"$state/status"
  inside apt-get -q -y -o Dir::Etc="$state/etc" -o Dir::State="$state" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
updates() {
  apt update
  sleep 4
  apt --download-only install sample-1 sample-2
  sleep 7
  apt update
  sleep 2
  (cd "$work" && apt download sample-3)
  apt update
}
record apt updates

# A page that is open for half a minute and asks for news every second, over the
# connection that it keeps; and somebody who turns pages.
polled() {
  inside curl --silent http://page.example/ http://page.example/style.css http://page.example/poll.js
  inside curl --silent --rate 60/m 'http://page.example/news?since=[1-30]'
}
record page polled
turned() {
  python3 -c 'import random; draw = random.Random(4); [print(draw.lognormvariate(0.3, 0.9)) for _ in range(16)]' |
    while read -r seconds; do
      inside curl --silent http://page.example/ http://page.example/style.css
      sleep "$seconds"
    done
}
record pages turned

# All of it at once: clocks, certificate status whenever there is something to
# check, packages of two kinds, an archive.
mixed() {
  clocks 25 &
  local clock=$!
  for seconds in 1.5 4 0.7 6 2.2; do
    inside openssl ocsp -issuer "$pki/ca.pem" -cert "$pki/rsa.pem" -CAfile "$pki/ca.pem" \
      -url http://ocsp.example/
    sleep $seconds
  done
  apt update
  inside python3 -m pip --isolated --disable-pip-version-check download --no-cache-dir --no-deps \
    --dest "$work/wheels" --index-url http://pypi.mirror.example/simple \
    --trusted-host pypi.mirror.example sample-tool
  inside curl --silent --fail --output "$work/tool.tar.xz" http://files.mirror.example/tool.tar.xz
  wait $clock
}
record mix mixed
