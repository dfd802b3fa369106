# syntax=docker/dockerfile:1
# The image of all roles: docker build -t dunlin:0.1.0 .
# The chart in charts/dunlin runs it; nothing in it needs root or a writable root file system.

FROM rust:1-bookworm AS build
# protoc and its descriptor.proto, for the etcd client and Arrow Flight.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches stay with the builder, so a second build compiles only what changed. The binary is
# copied out of them in the same step: a cache is not part of a layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package dunlin-node \
    && install -D --strip target/release/dunlin /out/dunlin

FROM debian:bookworm-slim
# tini: before its listeners are open, dunlin leaves SIGTERM to the system's default, and the system
# has none for process 1. ca-certificates: object stores.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 dunlin \
    && useradd --uid 10001 --gid dunlin --no-create-home --home-dir /var/lib/dunlin \
        --shell /usr/sbin/nologin dunlin \
    && install --directory --owner dunlin --group dunlin /var/lib/dunlin
COPY --from=build /out/dunlin /usr/local/bin/dunlin
USER 10001:10001
WORKDIR /var/lib/dunlin
# Flight SQL, /livez /readyz /metrics, shuffle data (as the chart sets its port).
EXPOSE 8815 8816 8817
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/dunlin"]
CMD ["--help"]
