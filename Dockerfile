# The manager image: operator and control plane. For people with docker;
# `images build tulle` (hack/images) packs the same without it.
FROM golang:1.27.3 AS build
ARG VERSION=0.3.0
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION}" -o /out/tulle . \
 && mkdir -p /out/etc /out/tmp && chmod 1777 /out/tmp \
 && printf 'root:x:0:0:root:/:/sbin/nologin\napp:x:65532:65532:app:/:/sbin/nologin\n' > /out/etc/passwd \
 && printf 'root:x:0:\napp:x:65532:\n' > /out/etc/group

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/tulle"]
