# The demonstration (examples/transfer) with all that it needs: MIT's, Heimdal's and GNU's GSS-API libraries and a KDC.
#
#	docker build -t gss-demo .
#	docker run --rm --network none gss-demo
#	docker run --rm --network none -e GSSAPI_LIBRARY=heimdal gss-demo
#
# It runs as a user without rights, and on loopback only. The client and the server of the README are in the image too.
#
# BASE is what the programs run on: Debian 12, or what has packages of the same names. GOLANG is what they are built
# with: Go 1.25 or newer (Debian 12's is too old) and a C compiler, on a C library that is not newer than that of BASE.

ARG BASE=debian:bookworm-slim
ARG GOLANG=golang:1.26-bookworm

FROM ${GOLANG} AS build
WORKDIR /src
COPY . .
# No header of a GSS-API is needed to build.
RUN cd examples && CGO_ENABLED=1 go build -trimpath -o /out/ ./transfer ./client ./server

FROM ${BASE}
# krb5-kdc would start a KDC, which has no realm; policy-rc.d says no.
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    krb5-kdc krb5-admin-server krb5-user libgssapi-krb5-2 libgssapi3-heimdal libgss3 \
 && rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d \
 && useradd --create-home --shell /usr/sbin/nologin demo
COPY --from=build /out/ /usr/local/bin/
USER demo
WORKDIR /home/demo
CMD ["transfer"]
