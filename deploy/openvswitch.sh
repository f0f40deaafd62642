#!/bin/bash
# openvswitch.sh [OPTION-OF-OVS-VSWITCHD...]: ovsdb-server and ovs-vswitchd in the foreground. When one of them ends, both do.
# OVS_DBDIR (the database, kept) and OVS_RUNDIR (sockets) say where, as for Open vSwitch's own programs. Flows of the kernel's datapath stay
# when this ends; the controller writes the bridge's flows again after a start.
set -eu
run=${OVS_RUNDIR:-/var/run/openvswitch}
folder=${OVS_DBDIR:-/etc/openvswitch}
schema=${OVS_SCHEMA:-/usr/share/openvswitch/vswitch.ovsschema}
database=$folder/conf.db
socket=$run/db.sock
mkdir -p "$run" "$folder"

say() { echo "openvswitch.sh: $*" >&2; }

# Another one that serves this folder would lose its socket to ours, and its packets to our flows.
if [ -S "$socket" ] && ovsdb-client --timeout=5 list-dbs "unix:$socket" >/dev/null 2>&1; then
    say "$socket is served already: Open vSwitch runs on this host; use the overlay host-ovs, or stop it"
    exit 1
fi
if [ ! -e "$database" ]; then
    rm -f "$database.new"
    ovsdb-tool create "$database.new" "$schema"
    mv "$database.new" "$database"
elif [ "$(ovsdb-tool needs-conversion "$database" "$schema")" = yes ]; then
    cp "$database" "$database.before-conversion"
    ovsdb-tool convert "$database" "$schema"
fi

children=()
end() {
    trap - TERM INT
    kill "${children[@]}" 2>/dev/null || true
    wait
    exit "$1"
}
trap 'end 0' TERM INT

ovsdb-server -vconsole:warn -vsyslog:off -vfile:off --pidfile="$run/ovsdb-server.pid" --remote="punix:$socket" "$database" &
children+=($!)
# Without the one row of Open_vSwitch nobody could add a bridge.
ovs-vsctl --db="unix:$socket" --retry --timeout=30 --no-wait init || end 1
ovs-vswitchd -vconsole:warn -vsyslog:off -vfile:off --pidfile="$run/ovs-vswitchd.pid" "$@" "unix:$socket" &
children+=($!)
status=0
wait -n || status=$?
say "a daemon has ended (exit status $status)"
end 1
