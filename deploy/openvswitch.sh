#!/bin/bash
# openvswitch.sh [OPTION-OF-OVS-VSWITCHD...]: ovsdb-server and ovs-vswitchd in the foreground. When ovs-vswitchd ends, both do;
# an ovsdb-server that ends is started again.
# OVS_DBDIR (the database, kept) and OVS_RUNDIR (sockets) say where, as for Open vSwitch's own programs. The kernel goes on by the flows of its
# datapath when this ends, and after a start until the controller has put the bridge's flows again; new connections wait for that.
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

server='' switch='' clock=''
end() {
    trap - TERM INT
    # shellcheck disable=SC2086  # those that there are
    kill $server $switch $clock 2>/dev/null || true
    wait
    exit "$1"
}
trap 'end 0' TERM INT

# ovs-vswitchd switches nothing in userspace while it has no database, and would try again after 1, 3, 7 and 15 seconds. So it listens, and the
# database, which knows when it has started, connects.
listening=punix:$run/ovs-vswitchd-db.sock
calling=unix:$run/ovs-vswitchd-db.sock
serve() {
    ovsdb-server -vconsole:warn -vsyslog:off -vfile:off --pidfile="$run/ovsdb-server.pid" --remote="punix:$socket" "$@" "$database" &
    server=$!
    # Not by ovs-vsctl's --retry, which waits for a second.
    for _ in $(seq 500); do
        if ovsdb-client --timeout=5 list-dbs "unix:$socket" >/dev/null 2>&1; then return 0; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    say "ovsdb-server does not serve $database"
    end 1
}
serve
vsctl() { ovs-vsctl --db="unix:$socket" --timeout=30 --no-wait "$@"; }
# Without the one row of Open_vSwitch nobody could add a bridge.
vsctl init || end 1

# Whether the kernel has a datapath with all ports of the database that can be in it. A new one would get the number of one that is gone, and be
# switched as that one was.
is_whole() {
    case $(vsctl get Bridge br-int datapath_type 2>/dev/null) in system | '""') ;; *) return 1 ;; esac
    ports=$(ovs-dpctl show system@ovs-system 2>/dev/null | sed -n 's/^ *port [0-9]*: \([^ ]*\).*/\1/p')
    [ -n "$ports" ] || return 1
    for name in $(vsctl --bare --columns=name find Interface 'type=""') $(vsctl --bare --columns=name find Interface type=internal); do
        [ ! -e "/sys/class/net/$name" ] || grep -Fqx -- "$name" <<<"$ports" || return 1
    done
}
# The controller calls the bridge: the first controller that a bridge connects to itself flushes the flows that are there.
case $(vsctl get-controller br-int 2>/dev/null) in punix:*) ;; *) vsctl --if-exists clear Bridge br-int controller || end 1 ;; esac
# First said, then looked at: from here on the controller makes no ports.
vsctl set Open_vSwitch . external_ids:called-by=lace-sdn other_config:flow-restore-wait=true || end 1
is_whole || vsctl remove Open_vSwitch . other_config flow-restore-wait || end 1
rm -f "${calling#unix:}"
ovs-vswitchd -vconsole:warn -vsyslog:off -vfile:off --pidfile="$run/ovs-vswitchd.pid" "$@" "$listening" &
switch=$!
while [ ! -S "${calling#unix:}" ] && kill -0 "$switch" 2>/dev/null; do
    sleep 0.02
done
ovs-appctl -t "$run/ovsdb-server.$server.ctl" ovsdb-server/add-remote "$calling" || end 1

while kill -0 "$switch" 2>/dev/null; do
    if ! kill -0 "$server" 2>/dev/null; then
        say "ovsdb-server has ended; it is started again"
        serve --remote="$calling"
    fi
    # `wait -n` says nothing of a process that ended just before.
    sleep 5 &
    clock=$!
    wait -n || true
    kill "$clock" 2>/dev/null || true
done
say "ovs-vswitchd has ended"
end 1
