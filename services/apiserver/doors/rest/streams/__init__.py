"""The parts of Pods, Services and Nodes that are streams: exec, attach, port-forward, log and proxy.

`parts` lists the handlers. They find the node through `navarch.services.apiserver.kubelets` and speak to the client
by `navarch.services.client.streams`; `spdy` is the framing that kubectl's port-forward tunnels through a WebSocket.
"""
