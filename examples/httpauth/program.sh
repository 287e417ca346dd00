#!/bin/sh
# What Apache runs: it tells who came, with which tickets, and the hash of the body.
printf 'Content-Type: text/plain\r\n\r\n'
echo "user: $REMOTE_USER"
if [ -n "$KRB5CCNAME" ]; then klist 2>&1 | sed -n 's/^Default principal/delegated/p'; fi
if [ "$REQUEST_METHOD" = POST ]; then echo "body: $(sha256sum)"; fi
