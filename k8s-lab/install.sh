#!/usr/bin/env bash
# Installs the system packages that Navarch needs: install.sh run|test
# Debian and Ubuntu, as root. Elsewhere it says what is missing; clusters then run on simulated containers.
set -euo pipefail

declare -A package_of=(
  [containerd]=containerd [runc]=runc [/usr/lib/cni/bridge]=containernetworking-plugins [nft]=nftables
  [busybox]=busybox-static [iptables]=iptables
)
if [ "${1:-run}" = test ]; then
  package_of+=([etcd]=etcd-server [etcdctl]=etcd-client [docker-registry]=docker-registry [node]=nodejs [npm]=npm
    [dig]=bind9-dnsutils [iperf3]=iperf3 [dnsperf]=dnsperf [dnsmasq]=dnsmasq-base [arping]=iputils-arping
    [wg]=wireguard-tools [wireguard-go]=wireguard-go)
fi

missing=()
for tool in "${!package_of[@]}"; do
  command -v "$tool" >/dev/null 2>&1 || missing+=("${package_of[$tool]}")
done
"${PYTHON:-/usr/bin/python3}" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "navarch: not installed here: ${missing[*]}. Without them only simulated containers run." >&2
  [[ " ${missing[*]} " != *" python3-venv "* ]]
  exit
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
