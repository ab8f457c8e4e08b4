# syntax=docker/dockerfile:1
# The service's one binary, in an image that holds little else. Build it with BuildKit: docker build --tag zonecert .

FROM node:20-bookworm-slim AS dashboard
WORKDIR /src/crates/dashboard/web
COPY crates/dashboard/web/package.json crates/dashboard/web/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY openapi.yaml /src/openapi.yaml
COPY crates/dashboard/web ./
RUN npm run build

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# rust-toolchain.toml stays outside (.dockerignore): the image has that toolchain, and needs none of its components.
COPY . .
COPY --from=dashboard /src/crates/dashboard/web/dist crates/dashboard/web/dist
# Registry and target directory are kept between builds, so that a change of ours builds ours again and nothing else.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package zonecert && cp target/release/zonecert /usr/local/bin/zonecert

FROM debian:bookworm-slim
# libssl3: keys, requests and sealing. ca-certificates: whom HTTPS and PostgreSQL's TLS trust.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm --recursive --force /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin zonecert
COPY --from=build /usr/local/bin/zonecert /usr/local/bin/zonecert
USER zonecert
# The API listens on this port where ZONECERT_LISTEN says so; its default is for a machine, not for a container.
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["zonecert"]
CMD ["--help"]
