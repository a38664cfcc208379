#!/usr/bin/env bash
# Makes the key and certificate that the recorded servers use. Test material
# only: the private keys are public, protect nothing and must never be trusted.
# Run again when the leaf has expired (390 days), before recording anew.
set -euo pipefail
cd "$(dirname "$0")"

names='DNS:api.llm.example,DNS:tools.example,DNS:legacy.example,DNS:www.example,DNS:mail.example'

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key 2>/dev/null
openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj '/O=nsforensics samples/CN=Sample Root' \
  -addext 'keyUsage=critical,keyCertSign,cRLSign' -out ca.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
openssl req -new -key rsa.key -subj '/CN=api.llm.example' -out rsa.csr
openssl x509 -req -in rsa.csr -CA ca.pem -CAkey ca.key -days 390 -sha256 -out rsa.pem \
  -extfile <(printf '%s\n' "subjectAltName=$names" 'basicConstraints=critical,CA:FALSE' \
    'keyUsage=critical,digitalSignature,keyEncipherment' 'extendedKeyUsage=serverAuth' \
    'authorityKeyIdentifier=keyid') 2>/dev/null
rm rsa.csr

# A certificate for the tests of NS-02: RSA of 1024 bits, signed with SHA-1 by
# the leaf above, which is no CA.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out weak.key 2>/dev/null
openssl req -new -key weak.key -subj '/CN=api.llm.example' -out weak.csr
openssl x509 -req -in weak.csr -CA rsa.pem -CAkey rsa.key -days 390 -sha1 -out weak.pem \
  -extfile <(printf 'subjectAltName=%s\n' "$names") 2>/dev/null
rm weak.csr weak.key
