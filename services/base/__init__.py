"""What every process needs: serving, TLS, configuration, logging, clock, supervision."""

import os

# gRPC's C core writes lines of its own to stderr, also for connections that simply ended; what matters of
# them reaches us as statuses. It reads this once, when it is first used.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
