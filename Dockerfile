# One image for all of a cluster: operator, controller, host, Open vSwitch, and what installs the CNI plugin.
#     docker build -t lace-sdn:0.1.0 .
FROM debian:13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY manifests/crds manifests/crds
COPY lace_sdn lace_sdn
RUN python3 -m venv /opt/lace-sdn && /opt/lace-sdn/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM debian:13-slim
# Debian 13 for its Open vSwitch 3.5: docs/decisions/0026. nftables: `lace-sdn host` keeps a table of the node's.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nftables openvswitch-switch python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/lace-sdn /opt/lace-sdn
COPY --chmod=755 deploy/install-cni.sh deploy/openvswitch.sh /usr/lib/lace-sdn/
COPY --chmod=644 deploy/05-lace-sdn.conflist /usr/lib/lace-sdn/
COPY --chmod=755 lace_sdn/cni.py /usr/lib/lace-sdn/lace-sdn-cni
ENV PATH=/opt/lace-sdn/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
CMD ["lace-sdn", "--help"]
