"""What people and programs see of the site: agent API, web console, control socket, metrics page.

    control socket ─→ build_control ─┐
    console.listen ─→ build_console ─┼─ api.py: /api/v1/…          (auth.py: who asks, and may they)
                                     └─ pages/: the console itself
    metrics.listen ─→ build_metrics ── /metrics, /livez, /readyz

`apps.py` has the three factories.
"""

from agent.web.apps import build_console, build_control, build_metrics

__all__ = ["build_console", "build_control", "build_metrics"]
