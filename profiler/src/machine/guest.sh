# Process 1 of an emulated machine once its root is in place: the usual file systems, the command, and off.
b() { /run/busybox "$@"; }
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
b mount -t proc proc /proc
b mount -t sysfs sysfs /sys
b mount -t devtmpfs dev /dev
b mkdir -p /dev/pts /dev/shm /run/netns /run/lock
b mount -t devpts -o ptmxmode=666 devpts /dev/pts
b mount -t tmpfs shm /dev/shm
b mount -t cgroup2 cgroup2 /sys/fs/cgroup
b mount -t tracefs tracefs /sys/kernel/tracing
b mount -t debugfs debugfs /sys/kernel/debug
b mount -t bpf bpf /sys/fs/bpf
b ip link set lo up
b ln -sf /proc/self/fd /dev/fd
b hostname netstrata-machine
cd /run/netstrata-machine
echo 1 >booted
/bin/sh ./command >stdout 2>stderr </dev/null
echo $? >exit.part
b mv exit.part exit
b sync
b poweroff -f
