#!/bin/sh
# Makes the test chains that bench-gen puts into its TLS 1.2 handshakes: for RSA and for ECDSA one
# file, the issuing CA's certificate first, then twelve leaves, DER after DER. The keys are thrown away.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

new_key() { # kind file
    if [ "$1" = rsa ]; then
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$2"
    else
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$2"
    fi
}

for kind in rsa ecdsa; do
    new_key $kind ca.key
    openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/O=Bench Example/CN=Bench $kind CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem
    openssl x509 -in ca.pem -outform DER -out "$here/$kind.der"
    for leaf in 0 1 2 3 4 5 6 7 8 9 10 11; do
        name="*.$kind$leaf.bench.example"
        new_key $kind leaf.key
        openssl req -new -key leaf.key -subj "/CN=$name" -out leaf.csr
        printf '%s\n' "subjectAltName=DNS:$name" "basicConstraints=critical,CA:FALSE" \
            "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth" \
            "authorityInfoAccess=OCSP;URI:http://ocsp.bench.example" >leaf.ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 398 \
            -extfile leaf.ext -outform DER -out leaf.der
        cat leaf.der >>"$here/$kind.der"
    done
done
