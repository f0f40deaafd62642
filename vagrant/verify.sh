#!/bin/bash
# verify.sh [SCENARIO...]: the scenarios of flows/ with real pods; who reaches whom must be as reachability.txt says. Without names: all that a
# cluster can run (book.py names --all says which not, and why). Exit status 1 if a connection is not as written.
#
# DRY_RUN=1 prints the commands instead. KEEP=1 leaves the objects of the last scenario in the cluster.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

: "${DRY_RUN:=}"
: "${KEEP:=}"
: "${WORKERS:=worker-1 worker-2}"
: "${CONTROL_PLANE:=control-plane}"
: "${IMAGE:=docker.io/library/lace-sdn:0.1.0}"
: "${PYTHON:=/var/lib/lace-sdn-lab/venv/bin/python}"
: "${PATIENCE:=180s}"
: "${SETTLE:=3}"
export KUBECONFIG=${KUBECONFIG:-/etc/kubernetes/admin.conf}

book() { "$PYTHON" "$here/book.py" "$@"; }

run() {
    if [ -n "$DRY_RUN" ]; then
        echo "+ ${*@Q}"
    else
        "$@"
    fi
}

all=$(mktemp -d)
trap 'rm -rf "$all"' EXIT

# Nodes of scenarios are called node1 or node-1: the first worker, the second, the control plane.
places=()
number=0
for node in $WORKERS $CONTROL_PLANE; do
    number=$((number + 1))
    places+=(--node "node$number=$node" --node "node-$number=$node")
done

# remove FILE...: take objects away that are there.
remove() {
    local file
    for file in "$@"; do
        run kubectl delete --ignore-not-found --wait --timeout="$PATIENCE" --filename "$file"
    done
}

bring() {
    local name=$1 namespace kind namespaces
    book prepare "$name" "$work" --image "$IMAGE" "${places[@]}"
    mapfile -t namespaces < <(sed -n 's/^  name: //p' "$work/namespaces.yaml")
    run kubectl apply --filename "$work/namespaces.yaml"
    for namespace in "${namespaces[@]}"; do
        # A pod is refused before its account is there.
        run kubectl wait --for=create --timeout="$PATIENCE" --namespace "$namespace" serviceaccount/default
    done
    run kubectl apply --filename "$work/objects.yaml"
    for namespace in "${namespaces[@]}"; do
        run kubectl wait --for=condition=Ready --timeout="$PATIENCE" --namespace "$namespace" pods --all
    done
    for kind in networkroutingpolicies serviceroutingpolicies; do
        if grep -qi "^kind: ${kind%ies}y" "$work/objects.yaml"; then
            run kubectl wait --for=condition=Programmed --timeout="$PATIENCE" "$kind" --all
        fi
    done
    # Nothing says when the endpoints of Services have come to all nodes.
    run sleep "$SETTLE"
}

probe() {
    local name=$1 namespace pod
    if [ -n "$DRY_RUN" ]; then
        echo "+ kubectl get networkendpoints --all-namespaces --output json"
    else
        kubectl get networkendpoints --all-namespaces --output json >"$work/endpoints.json"
        book ask "$name" "$work"
    fi
    while read -r namespace pod; do
        if [ -n "$DRY_RUN" ]; then
            echo "+ kubectl exec --stdin --namespace '$namespace' '$pod' -- python3 - ask PROBES <probe.py"
            continue
        fi
        kubectl exec --stdin --namespace "$namespace" "$pod" -- \
            python3 - ask "$(cat "$work/$namespace.$pod.asked")" <"$here/probe.py" >"$work/$namespace.$pod.said"
    done <"$work/sources"
    [ -n "$DRY_RUN" ] || book judge "$name" "$work"
}

if [ $# -gt 0 ]; then
    names=("$@")
else
    mapfile -t names < <(book names)
fi
status=0
for name in "${names[@]}"; do
    echo "== $name"
    work=$(mktemp -d "$all/XXXXXX")
    bring "$name"
    probe "$name" || status=1
    if [ -z "$KEEP" ]; then
        remove "$work/objects.yaml" "$work/namespaces.yaml"
    fi
done
exit $status
