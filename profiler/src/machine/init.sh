#!/bin/busybox sh
# Process 1 of an emulated machine until its root is in place. The host's files are read over 9p or virtiofs; what is written
# goes to memory.
b() { /bin/busybox "$@"; }
fail() { echo "netstrata-guest: $*" >/dev/console; b poweroff -f; }
b mkdir -p /proc /host /layer /new
b mount -t proc proc /proc
for module in /early/*.ko; do b insmod "$module" || fail "cannot load $module"; done
# Mounts what the host shares under a name, with more options.
reach() {
    case $(b cat /files) in
    9p) b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000$3" "$1" "$2" ;;
    virtiofs) b mount -t virtiofs -o "$([ "$3" ] && echo ro || echo rw)" "$1" "$2" ;;
    esac
}
# Loose: the host's files are taken not to change while the guest reads them, so they are read once.
reach host /host ,ro,cache=loose || fail "cannot reach the host's files"
b mount -t tmpfs -o size=80% layer /layer
b mkdir -p /layer/upper /layer/work
b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /new || fail "no overlay"
b mkdir -p /new/usr/lib/modules
b mount -o bind "/host$(b cat /modules)" /new/usr/lib/modules
# Shared directories: what is written there reaches the host.
b mount -t tmpfs run /new/run
b mkdir -p /new/run/netstrata-machine
reach run /new/run/netstrata-machine "" || fail "cannot reach the directory of this run"
index=0
while read -r directory; do
    b mkdir -p "/new$directory"
    reach "share$index" "/new$directory" "" || fail "cannot reach $directory"
    index=$((index + 1))
done </new/run/netstrata-machine/shares
b cp /guest.sh /bin/busybox /new/run/
b umount /proc
exec /bin/busybox switch_root /new /run/busybox sh /run/guest.sh
