"""Rows as alarms."""

from datetime import UTC, datetime

import pytest

from agent.alarms.model import Evidence, Kind
from agent.vendors.davantis.reading import alarm_of, is_system, kind_of
from agent.vendors.davantis.records import alarm_records


def row(**keys):
    return alarm_records([{"id": 1, **keys}], "device")[0]


@pytest.mark.parametrize(
    ("event", "camera", "said", "kind"),
    [
        (1, 3, "", Kind.MOVEMENT),
        (2, 3, "", Kind.PERSON),
        (3, 3, "", Kind.VEHICLE),
        (7, 3, "", Kind.OTHER),
        (10, 3, "", Kind.TAMPER),
        (11, 3, "", Kind.INTRUSION),
        (18, 3, "", Kind.EXTERNAL_TRIGGER),
        ("11", "3", "", Kind.INTRUSION),
        (102, 0, "system.armed", Kind.ARMED),
        (102, 0, "System disarmed", Kind.DISARMED),
        (102, 0, "Sistema desarmado", Kind.DISARMED),
        (102, 0, "Sistema armado", Kind.ARMED),
        (102, 0, "camera.deactivated", Kind.DISARMED),
        (102, 0, "alarm 7", Kind.SYSTEM),
        (0, 0, "camera lost", Kind.SYSTEM),
        (0, 2, "Camera signal lost", Kind.CAMERA_LOST),
        (0, 2, "lost camera recovered", Kind.CAMERA_RESTORED),
        (0, 2, "Cámara perdida", Kind.CAMERA_LOST),
        (0, 2, "something", Kind.SYSTEM),
        (99, 2, "", Kind.OTHER),
        (None, 2, "", Kind.OTHER),
        ({"x": 1}, [2], "", Kind.OTHER),
    ],
)
def test_kinds(event, camera, said, kind):
    assert kind_of(row(idevent=event, idcamera=camera, description=said)) is kind


def test_the_key_is_read_before_the_translation():
    said = row(idevent=102, idcamera=0, description="system.disarmed", description_translation="Frakoblet")
    assert kind_of(said) is Kind.DISARMED


@pytest.mark.parametrize(
    ("event", "camera", "system"),
    [(11, 3, False), (11, 0, True), (10, 3, True), (0, 3, True), (102, 0, True), (77, 3, True)],
)
def test_what_counts_whatever_the_arming(event, camera, system):
    assert is_system(row(idevent=event, idcamera=camera)) is system


@pytest.mark.parametrize(
    ("status", "event", "evidence"),
    [
        ("ready", 11, Evidence.RECORDING),
        ("recording", 11, Evidence.RECORDING),
        ("unavailable", 11, Evidence.UNAVAILABLE),
        ("archived", 11, Evidence.RECORDING),
        (None, 11, Evidence.RECORDING),
        (None, 102, Evidence.UNAVAILABLE),
    ],
)
def test_evidence(status, event, evidence):
    alarm = alarm_of(
        row(idevent=event, idcamera=1, video_status=status),
        epoch="",
        occurred_at=datetime.now(UTC),
        armed=None,
        camera_name="",
    )
    assert alarm.video is evidence


def test_a_restored_camera_is_a_restoral_and_silence_is_described():
    at = datetime.now(UTC)
    restored = row(idevent=0, idcamera=2, description="camera recovered")
    assert alarm_of(restored, epoch="", occurred_at=at, armed=None, camera_name="").restoral
    assert alarm_of(row(idevent=2), epoch="", occurred_at=at, armed=None, camera_name="").description == "Person"
