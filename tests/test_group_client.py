"""What the client of both libraries tells where it does not raise."""

from types import SimpleNamespace
from unittest.mock import Mock

from kafka.errors import CommitFailedError
from kafka.future import Future

from forecaster.config import Settings
from forecaster.kafka.group_client import GroupClient


def test_offsets_that_cannot_be_committed_at_the_end_are_told(caplog) -> None:
    refused = Future()
    refused.failure(CommitFailedError())
    lookup = Mock()
    lookup._coordinator = SimpleNamespace(coordinator_unknown=lambda: False)
    lookup.commit_async.return_value = refused
    lookup._net.run.side_effect = CommitFailedError()
    client = GroupClient(Settings(), "test", Mock(lookup=lookup), Mock(), Mock())
    client._commit_alone({0: 5})
    client.close()
    assert "the last offsets are not committed" in caplog.text
    client._group.leave.assert_called_once()
