"""The table of peers in the documentation is of the losses that its script examines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[3] / "docs" / "checking.md"


@pytest.fixture
def script():
    pytest.importorskip("nnunetv2")
    return pytest.importorskip("check_peers")


def test_the_page_has_a_row_for_every_peer(script) -> None:
    settings = [f"| `{peer.setting}` |" for peer in script.peers()]
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    assert [next((s for s in settings if row.startswith(s)), None) for row in rows] == settings


def test_peers_are_tried_on_the_form_that_they_document(script) -> None:
    peer = script.Peer("", "", lambda p, t: p.mean(), 2, "masks", from_logits=False)
    loss = script.restricted(peer)
    probability, mask = torch.rand(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    assert loss(probability, mask) == probability.mean()
    for wrong in [(-probability, mask), (probability, mask.long()), (probability, mask[:, 0])]:
        with pytest.raises(ValueError, match="must be"):
            loss(*wrong)
