"""The span that the program itself is in."""

from __future__ import annotations

import sys


def traceparent() -> str | None:
    """Return it as the header of that name, if the program uses OpenTelemetry and is in a span."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None
