# What is recorded, on a host of its own; "$1" is where the program is, "$2" where what valgrind sees goes.
set -eu
mount -t tmpfs tmpfs /run
mkdir /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export QIAO_STATE_DIR=/run/state QIAO_RUN_DIR=/run/qiao QIAO_CGROUP="/sys/fs/cgroup/qiao-layout-$$"
mkdir "$QIAO_CGROUP"
ip link set lo up
for name in first a b c d; do ip netns add "$name"; done
for name in bridge portmap netavark; do ln -s "$1/qiao" "/run/$name"; done
watched() {
    seen=$1
    shift
    valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file="$seen/%p" "$@" 2>/run/said
}

# What a runtime waits for most: two containers beside another, which had the server of names started, and both away
# again.
"$1/qiao" network create front --subnet 10.64.0.0/16 --ipv6=false >/run/said
"$1/qiao" attach first --netns /run/netns/first --network front >/run/said
for words in "attach a --netns /run/netns/a --network front -p 1001:80" \
             "attach b --netns /run/netns/b --network front -p 1002:80" "detach b" "detach a"; do
    watched "$2/first" "$1/qiao" $words >/run/said
done
"$1/qiao" detach first
"$1/qiao" network rm front >/run/said

# The same by CNI.
export CNI_PATH=/run CNI_IFNAME=eth0 CNI_NETNS CNI_CONTAINERID CNI_COMMAND
head='"cniVersion": "1.0.0", "name": "pods"'
ipam='"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.67.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}'
for CNI_CONTAINERID in c d; do
    CNI_NETNS=/run/netns/$CNI_CONTAINERID
    ports='"runtimeConfig": {"portMappings": [{"hostPort": 20'$(printf %d "'$CNI_CONTAINERID")', "containerPort": 80, "protocol": "tcp"}]}'
    CNI_COMMAND=ADD
    echo "{$head, \"type\": \"bridge\", \"bridge\": \"cni9\", \"isGateway\": true, \"ipMasq\": true, $ipam}" >/run/bridge.json
    watched "$2/then" /run/bridge </run/bridge.json >/run/result.json
    echo "{$head, \"type\": \"portmap\", $ports, \"prevResult\": $(cat /run/result.json)}" >/run/portmap.json
    watched "$2/then" /run/portmap </run/portmap.json >/run/said
    CNI_COMMAND=DEL
    watched "$2/then" /run/portmap </run/portmap.json >/run/said
    watched "$2/then" /run/bridge </run/bridge.json >/run/said
done

# And by Podman.
subnet='{"subnet": "10.66.0.0/16", "gateway": "10.66.0.1"}'
network='"name": "pod", "id": "'$(printf %064x 1)'", "driver": "bridge", "network_interface": "podman9", "ipv6_enabled": false, "internal": false, "dns_enabled": false, "options": {}, "ipam_options": {"driver": "host-local"}'
for name in c d; do
    ip="10.66.0.$(printf %d "'$name")"
    echo "{\"container_id\": \"$(printf %064x "$(printf %d "'$name")")\", \"container_name\": \"$name\",
        \"networks\": {\"pod\": {\"static_ips\": [\"$ip\"], \"interface_name\": \"eth0\"}},
        \"network_info\": {\"pod\": {$network, \"subnets\": [$subnet]}},
        \"port_mappings\": [{\"container_port\": 80, \"host_port\": 3000, \"host_ip\": \"\", \"protocol\": \"tcp\", \"range\": 1}]}" >/run/pod.json
    for act in setup teardown; do
        watched "$2/then" /run/netavark --config /run/podman $act "/run/netns/$name" </run/pod.json >/run/said
    done
done
rmdir "$QIAO_CGROUP"
