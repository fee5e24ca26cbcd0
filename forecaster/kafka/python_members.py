"""Static members whose pods a scale-down ended: taken out of the group, which would wait `kafka.session_timeout`."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError, UnknownMemberIdError

from forecaster.config import Settings
from forecaster.errors import ForecasterError
from forecaster.kafka.handshake import check_handshake
from forecaster.kafka.python_connect import REFUSALS, connection_options, one_line, routed, unavailable

LOOK_AGAIN_S = 0.5


def remove_members(
    settings: Settings, client_id: str, statefulset: str, replicas: int, answers: Callable[[str], bool]
) -> list[str]:
    """Remove the members of the pods `STATEFULSET-N`, N at least `replicas`; returns their instance ids.

    A pod whose daemon still `answers` (asked by the pod's name) is waited for: removed, it would join again. Raises
    `ForecasterError` where one does so for longer than `kafka.shutdown_timeout` and `kafka.session_timeout` together.
    """
    kafka = settings.kafka
    options = connection_options(kafka, client_id)
    check_handshake(kafka, options, time.monotonic() + kafka.startup_timeout / 1_000, certain=True)
    deadline = time.monotonic() + (kafka.shutdown_timeout + kafka.session_timeout) / 1_000
    try:
        admin = KafkaAdminClient(**options, bootstrap_timeout_ms=kafka.startup_timeout)
    except REFUSALS as error:
        raise routed(error, "look at its groups") from None
    except (KafkaError, OSError) as error:
        raise unavailable(kafka, error) from None
    removed: list[str] = []
    with closing(admin):
        while members := _members_above(admin, kafka.group_id, statefulset, replicas):
            ended = [member for member, pod in members.items() if not answers(pod)]
            removed += _remove(admin, kafka.group_id, ended)
            waited_for = sorted(members.keys() - set(ended))
            if waited_for and time.monotonic() > deadline:
                raise ForecasterError(f"{', '.join(waited_for)}: still running, and so left in group {kafka.group_id}")
            time.sleep(LOOK_AGAIN_S)
    return sorted(removed)


def _members_above(admin: Any, group: str, statefulset: str, replicas: int) -> dict[str, str]:
    """Pod by instance id, which is the pod's name and the worker's index."""
    name = re.compile(rf"({re.escape(statefulset)}-(\d+))-\d+")
    try:
        members = admin.describe_groups([group])[group]["members"]
    except KafkaError as error:
        raise ForecasterError(f"kafka.group_id: group {group} cannot be described: {one_line(error)}") from None
    matches = [name.fullmatch(member["group_instance_id"] or "") for member in members]
    return {match[0]: match[1] for match in matches if match and int(match[2]) >= replicas}


def _remove(admin: Any, group: str, ids: list[str]) -> list[str]:
    if not ids:
        return []
    why = "scaled down"
    try:
        answer = admin.remove_group_members(group, [MemberToRemove(group_instance_id=id_, reason=why) for id_ in ids])
    except KafkaError as error:
        raise ForecasterError(f"kafka.group_id: members of {group} cannot be removed: {one_line(error)}") from None
    for member, result in answer.items():
        if result not in (NoError, UnknownMemberIdError):  # unknown: its session ended meanwhile
            raise ForecasterError(f"{member.group_instance_id}: not removed from group {group}: {result.__name__}")
    return ids
