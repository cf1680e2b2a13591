# A group of corosync on this host, each member with a daemon and a network namespace of its own, joined by a bridge:
# sh -e cpg.sh PROGRAM MEMBERS BYTES MESSAGES WARM_UP. PROGRAM, compiled from cpg.c, has a folder of its own. Prints the
# seconds from the first call to the last delivery at the slowest member. It runs in namespaces made for it, with which
# all ends that it starts.
program=$1 members=$2
shift 2
work=$(dirname "$program")
mkdir -p /run/netns
mount -t tmpfs run /run/netns
# What an earlier one said is not for this one.
rm -rf "$work"/[0-9]*

ip link add bridge type bridge
ip link set bridge mtu 9000 up
nodes=
for member in $(seq "$members"); do
    nodes="$nodes
  node {
    ring0_addr: 10.77.0.$member
    nodeid: $member
  }"
done
for member in $(seq "$members"); do
    ip netns add "m$member"
    ip link add "p$member" mtu 9000 type veth peer name eth mtu 9000 netns "m$member"
    ip link set "p$member" master bridge up
    ip -n "m$member" address add "10.77.0.$member/24" dev eth
    ip -n "m$member" link set lo up
    ip -n "m$member" link set eth up
    mkdir -p "$work/$member/state"
    # Frames as large as cables carry; a member that waits for a core is not lost.
    cat >"$work/$member/corosync.conf" <<END
totem {
  version: 2
  cluster_name: squall
  transport: udpu
  netmtu: 8900
  token: 10000
}
nodelist {$nodes
}
logging {
  to_syslog: no
  to_logfile: no
  to_stderr: yes
}
system {
  state_dir: $work/$member/state
}
END
    # The daemon's lock is a file of its own /run.
    ip netns exec "m$member" sh -c "mount -t tmpfs run /run; exec corosync -f -c '$work/$member/corosync.conf'" >"$work/$member/log" 2>&1 &
    echo $! >"$work/$member/daemon"
done

processes=
for member in $(seq 2 "$members") 1; do
    until ip netns exec "m$member" corosync-cpgtool >/dev/null 2>&1; do
        kill -0 "$(cat "$work/$member/daemon")" || { tail -n 3 "$work/$member/log" >&2; exit 1; }
        sleep 0.05
    done
    sends=0
    [ "$member" != 1 ] || sends=1
    ip netns exec "m$member" "$program" "$members" "$@" $sends >"$work/$member/said" 2>"$work/$member/trouble" &
    processes="$processes $!"
done
for process in $processes; do
    wait "$process" || { cat "$work"/*/trouble >&2; exit 1; }
done
cat "$work"/*/said | awk '$1 > 0 { began = $1 } $2 > ended { ended = $2 } END { printf "%.9f\n", ended - began }'
