"""A chain that is mined along with another one, as a view sees it through an Electrum server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.indexer import auxpow
from tests.indexer.test_auxpow import SCRIPT, serving
from tests.kernels.test_scan import real_block

from twinlock.chain.coins import coin
from twinlock.electrum.errors import LyingServerError
from twinlock.electrum.headers import check_run, read_headers
from twinlock.electrum.view import ChainView
from twinlock.seams import SeededEntropy, SystemClock
from twinlock.simnet.simulated_node import SimulatedNode

DOGE = coin("doge", "mainnet")
BLOCK = bytes.fromhex(real_block("dogecoin_mainnet_371337")["block"])
HEADER = BLOCK[:535]
"""With its proof."""


def test_a_real_header_is_read_with_its_proof_and_followed_by_the_next() -> None:
    (header,) = read_headers(DOGE, HEADER)
    assert header.serialize() == HEADER[:80]
    assert read_headers(DOGE, HEADER + HEADER) == [header, header]
    check_run(DOGE, [header], 371_337)


def test_a_header_without_its_proof_or_with_a_bent_one_is_a_lie() -> None:
    bent = bytearray(HEADER)
    bent[-1] ^= 1
    for wrong, what in ((HEADER[:80], "type"), (HEADER[:-1], "type"), (bytes(bent), "work")):
        with pytest.raises(LyingServerError) as lie:
            read_headers(DOGE, wrong)
        assert lie.value.what == what


@pytest.mark.anyio
async def test_a_view_follows_a_merged_mined_chain_through_our_indexer(tmp_path: Path) -> None:
    blocks, regtest = auxpow.chain(60, SCRIPT), coin("doge", "regtest")
    async with (
        SimulatedNode([block.raw for block in blocks], auxpow=True) as node,
        serving(node, tmp_path) as (_, port),
    ):
        server = f"tcp://127.0.0.1:{port}"
        async with ChainView(regtest, [server], clock=SystemClock(), entropy=SeededEntropy(1)) as view:
            assert (await view.tip()).block_hash == blocks[-1].hash[::-1].hex()
            history = (await view.script_history(SCRIPT)).history
            # Each block pays the script and moves what the one before paid; every entry is proven to be in its block.
            assert [entry.height for entry in history] == sorted([*range(1, 60), *range(2, 60)])
            header = await view.header(7)
            assert header is not None
            assert header.hash == blocks[7].hash
