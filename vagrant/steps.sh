#!/bin/bash
# steps.sh STEP...: what makes a cluster with Lace SDN from plain Debian 12 machines, as root. Each step can be run again; what is done already is left.
#
#   prerequisites   packages, kernel modules and settings, containerd
#   kubernetes      kubeadm, kubelet, kubectl
#   openvswitch     with OVERLAY=host-ovs: the host's own; with OVERLAY=base: only what the one in the pod needs of the kernel
#   image           build the image from this clone, for containerd
#   control-plane   a cluster without network plugin, kube-proxy and DNS; this machine is its control plane
#   join            this machine joins it
#   install         Lace SDN (on the control plane)
#   ready           wait until it runs on all machines (on the control plane, when the workers have joined)
#   quickstart      the quickstart's objects, with pods that answer (on the control plane)
#
# DRY_RUN=1 prints the commands instead, and takes nothing as done. The variables below can be set from outside.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$here")

: "${DRY_RUN:=}"
: "${NODE_IP:=192.168.56.10}"
: "${CONTROL_PLANE_IP:=192.168.56.10}"
: "${WORKERS:=worker-1 worker-2}"
: "${OVERLAY:=base}"
: "${KUBERNETES:=v1.33}"
: "${MTU:=1450}"
: "${IMAGE:=docker.io/library/lace-sdn:0.1.0}"
# Of a laboratory that nobody else reaches: every machine knows it, and workers trust whoever answers at CONTROL_PLANE_IP.
: "${TOKEN:=lacesd.0123456789abcdef}"
: "${WORK:=/var/lib/lace-sdn-lab}"
export KUBECONFIG=${KUBECONFIG:-/etc/kubernetes/admin.conf}

# run COMMAND...: do it, or print it.
run() {
    if [ -n "$DRY_RUN" ]; then
        echo "+ ${*@Q}"
    else
        "$@"
    fi
}

# missing FILE: whether a step is still to be done.
missing() { [ -n "$DRY_RUN" ] || [ ! -e "$1" ]; }

# put FILE: standard input becomes the file, unless it is the same; the status says whether it was written.
put() {
    local text
    text=$(cat)
    if [ -n "$DRY_RUN" ]; then
        echo "+ write $1:"
        printf '%s\n' "$text" | sed 's/^/    /'
    elif [ -e "$1" ] && [ "$text" = "$(cat "$1")" ]; then
        return 1
    else
        mkdir -p "$(dirname "$1")"
        printf '%s\n' "$text" >"$1.new"
        mv "$1.new" "$1"
    fi
}

prerequisites() {
    run "$repository/.ci/deps" buildah ca-certificates conntrack containerd curl ethtool gpg iproute2 python3 python3-venv runc socat
    run swapoff --all
    run sed -i.before-lace-sdn -E 's/^([^#].*\sswap\s)/#\1/' /etc/fstab
    put /etc/modules-load.d/lace-sdn.conf <<<$'overlay\nopenvswitch\ngeneve' || true
    local module
    for module in overlay openvswitch geneve; do
        run modprobe "$module"
    done
    # kubeadm wants it; `lace-sdn host` sets it too.
    put /etc/sysctl.d/90-lace-sdn-lab.conf <<<'net.ipv4.ip_forward = 1' || true
    run sysctl --quiet --system
    # Debian's containerd looks for plugins in /usr/lib/cni.
    if put /etc/containerd/config.toml <<'TOML'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true
TOML
    then
        run systemctl restart containerd
    fi
}

kubernetes() {
    local key=/etc/apt/keyrings/kubernetes.asc url="https://pkgs.k8s.io/core:/stable:/$KUBERNETES/deb"
    run mkdir -p /etc/apt/keyrings
    if missing "$key"; then
        run curl --fail --silent --show-error --location --output "$key" "$url/Release.key"
    fi
    put /etc/apt/sources.list.d/kubernetes.list <<<"deb [signed-by=$key] $url/ /" || true
    run "$repository/.ci/deps" kubeadm kubectl kubelet
    run apt-mark hold kubeadm kubectl kubelet
    # The machines have two interfaces; the cluster lives on the private one.
    if put /etc/default/kubelet <<<"KUBELET_EXTRA_ARGS=--node-ip=$NODE_IP"; then
        run systemctl restart kubelet
    fi
}

openvswitch() {
    case $OVERLAY in
    host-ovs)
        run "$repository/.ci/deps" openvswitch-switch
        run systemctl enable --now openvswitch-switch
        ;;
    base)
        # The one in the pod wants to be the only one.
        if [ -n "$DRY_RUN" ] || systemctl is-active --quiet ovs-vswitchd; then
            run systemctl disable --now openvswitch-switch
        fi
        ;;
    *)
        echo "OVERLAY is '$OVERLAY'; expected base or host-ovs" >&2
        return 2
        ;;
    esac
}

image() {
    local archive=$WORK/image.tar
    run mkdir -p "$WORK"
    run buildah build --tag "$IMAGE" "$repository"
    run rm -f "$archive"
    run buildah push "$IMAGE" "docker-archive:$archive:$IMAGE"
    run ctr --namespace k8s.io images import "$archive"
}

control-plane() {
    put "$WORK/kubeadm.yaml" <<YAML || true
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
  - token: $TOKEN
    ttl: 0s
localAPIEndpoint:
  advertiseAddress: $CONTROL_PLANE_IP
skipPhases:
  - addon/kube-proxy
  - addon/coredns
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: $CONTROL_PLANE_IP:6443
networking:
  serviceSubnet: 10.96.0.0/12
YAML
    if missing /etc/kubernetes/admin.conf; then
        run kubeadm init --config "$WORK/kubeadm.yaml"
    fi
}

join() {
    if missing /etc/kubernetes/kubelet.conf; then
        run kubeadm join "$CONTROL_PLANE_IP:6443" --token "$TOKEN" --discovery-token-unsafe-skip-ca-verification
    fi
}

install() {
    # An overlay as every user writes one: paths in it are relative.
    put "$here/.install/kustomization.yaml" <<YAML || true
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../manifests/$OVERLAY
configMapGenerator:
  - name: lace-sdn
    namespace: lace-sdn
    behavior: merge
    literals:
      - API_SERVER=https://$CONTROL_PLANE_IP:6443
      - MTU=$MTU
YAML
    run kubectl apply -k "$here/.install"
    if missing "$WORK/venv/bin/lace-sdn"; then
        run python3 -m venv "$WORK/venv"
        run "$WORK/venv/bin/pip" install --quiet --disable-pip-version-check "$repository"
    fi
}

ready() {
    run kubectl -n lace-sdn rollout status deployment/lace-sdn-operator --timeout=300s
    run kubectl -n lace-sdn rollout status daemonset/lace-sdn-controller --timeout=300s
    run kubectl wait --for=condition=Ready nodes --all --timeout=300s
}

quickstart() {
    KEEP=1 DRY_RUN=$DRY_RUN PYTHON=${PYTHON:-$WORK/venv/bin/python} WORKERS=$WORKERS IMAGE=$IMAGE "$here/verify.sh" quickstart
}

if [ $# -eq 0 ]; then
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
fi
for step in "$@"; do
    case $step in
    prerequisites | kubernetes | openvswitch | image | control-plane | join | install | ready | quickstart) ;;
    *)
        echo "there is no step '$step'" >&2
        exit 2
        ;;
    esac
done
for step in "$@"; do
    echo "== $step"
    "$step"
done
