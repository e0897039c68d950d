"""The sinks: one a far end. `build` makes one from its table of the configuration; nothing here does I/O."""

from collections.abc import Callable
from functools import partial

from agent.alarms.model import JournalledAlarm, Sink
from agent.alarms.outbox import Outbox
from agent.settings.models import Settings
from agent.settings.sinks import Dc09Sink, MilestoneSink, MqttSink, SinkSettings, WebhookSink

Link = Callable[[JournalledAlarm], str | None]
"""A short-lived address of an alarm's picture at the console, None where there is none."""
ZoneName = Callable[[str, int], str | None]
"""(account, zone number) -> the name registered through the client API."""


def build(
    settings: Settings,
    sink: SinkSettings,
    *,
    outbox: Outbox | None = None,
    link: Link = lambda alarm: None,
    zone_name: ZoneName = lambda account, zone: None,
) -> Sink:
    """Without `outbox` (a probe from the command line) nothing of the sink outlives the process."""
    site = settings.site.id
    match sink:
        case Dc09Sink():
            from agent.sinks.dc09.sink import Dc09Sink as Dc09

            accounts = (source.account for source in settings.sources)
            return Dc09(
                sink,
                site=site,
                supervision_account=next((account for account in accounts if account), None),
                source_numbers={source.name: number for number, source in enumerate(settings.sources, start=1)},
                link=link,
                zone_name=zone_name,
                change_state=partial(outbox.change_state, sink.name) if outbox else None,
            )
        case WebhookSink():
            from agent.sinks.webhook import WebhookSink as Webhook

            return Webhook(sink, site=site)
        case MqttSink():
            from agent.sinks.mqtt import MqttSink as Mqtt

            return Mqtt(sink, site=site)
        case MilestoneSink():
            from agent.sinks.milestone import MilestoneSink as Milestone

            return Milestone(sink)
