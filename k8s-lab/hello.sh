#!/usr/bin/env bash
# The first example: a cluster, three replicas behind a Service, and their logs.
set -euo pipefail
cd "$(dirname "$0")/.."
navarch=.venv/bin/navarch
image=build/hello-image.tar

"$navarch" up
if command -v busybox >/dev/null; then
  mkdir -p build
  .venv/bin/python k8s-lab/images/busybox_image.py "$image" --name navarch.dev/busybox:latest
  "$navarch" image load "$image"
fi
"$navarch" apply -f k8s-lab/manifests/hello.yaml
"$navarch" rollout status deployment/hello --timeout 120s
echo
"$navarch" get pods -o wide -l app=hello
echo
for pod in $("$navarch" get pods -l app=hello -o jsonpath='{.items[*].metadata.name}'); do
  "$navarch" logs "$pod" --tail 1
done
echo
if command -v curl >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "Behind the Service: $(curl -s -m 5 "$("$navarch" get service hello -o jsonpath='{.spec.clusterIP}')")"
fi
cat <<'TXT'

Try next:
  .venv/bin/navarch get pods,services,deployments
  .venv/bin/navarch scale deployment/hello --replicas 5
  .venv/bin/navarch delete pod -l app=hello        # they come back
  .venv/bin/navarch exec deploy/hello -- hostname
  .venv/bin/navarch rollout history deployment/hello
  .venv/bin/navarch down                           # leaves nothing behind
TXT
