# The image of Anteroom: the program, certificate authorities, and nothing else.
#
#   make image                                    with docker or buildah, whichever there is
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# The root may be read-only. What Anteroom keeps goes to volumes: secrets are read
# from files (NEXTCLOUD_CLIENT_SECRET_FILE=/run/secrets/client_secret, and so for
# each secret), and the audit log goes to the output unless ANTEROOM_AUDIT_OUTPUT
# names a file on a volume that user 65532 may write to. See docs/install.md.

ARG GO=1.26.8-bookworm

# The compiler runs on the builder's own platform and compiles for the target's.
FROM --platform=$BUILDPLATFORM golang:${GO} AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG COMMIT
ARG GOPROXY
ARG GOSUMDB
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN deploy/packages/compile /out/anteroom "${TARGETOS}" "${TARGETARCH}"

FROM scratch
ARG VERSION
ARG COMMIT
ARG CREATED
LABEL org.opencontainers.image.title="Anteroom" \
      org.opencontainers.image.description="Signs people in with Nextcloud in front of any application" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/anteroom /anteroom
COPY LICENSE /LICENSE
USER 65532:65532
# The site; health and metrics, which listen on loopback unless told otherwise.
EXPOSE 8000 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/anteroom", "healthcheck"]
ENTRYPOINT ["/anteroom"]
