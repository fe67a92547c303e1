"""What holds for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

from navarch.services.base.log import LineFormatter

# A run of `make test` is the same everywhere, and no machine is too slow for it; `make soak` looks further, and
# `make test-fast` less far.
EXAMPLES = int(os.environ.get("NAVARCH_EXAMPLES", 100))
settings.register_profile(
    "test", derandomize=True, deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak" if os.environ.get("NAVARCH_SOAK") else "test")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """A failed test shows what was logged with its fields: an error without them says that something was wrong."""
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    if plugin is not None:
        for handler in (plugin.caplog_handler, plugin.report_handler):
            handler.setFormatter(LineFormatter())
