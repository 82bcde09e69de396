"""What holds for every test: hypothesis may take its time, however busy the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("whiz", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whiz")
