"""Run a stream worker that reports its reads and resources when it ends."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from prompt_processing.activator.factory import ProcessContext
from prompt_processing.activator.stream_worker import load_settings, serve
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.transport.arrival_notices import ArrivalNotices


class _CountedNotices(ArrivalNotices):
    """Counts what it is given."""

    read = 0

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        notices = super().poll(seconds)
        self.read += len(notices)
        return notices


def main(report: Path) -> int:
    """Work, then write a report."""
    settings = load_settings()
    context = ProcessContext(settings)
    context.notices.close()
    notices = _CountedNotices(
        settings.kafka,
        settings.bucket_topic,
        offset_reset=settings.bucket_notification_kafka_offset_reset,
    )
    context.notices = notices
    context.start_logging()
    status = serve(context)
    used = resource.getrusage(resource.RUSAGE_SELF)
    report.write_text(
        json.dumps({"notices": notices.read, "cpu": used.ru_utime + used.ru_stime, "rss_kib": used.ru_maxrss})
    )
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
