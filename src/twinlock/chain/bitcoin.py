"""The Bitcoin-like family: Bitcoin, Litecoin, and whatever another row of coins describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinlock.chain import coinproof, script, sizes
from twinlock.chain.address import address_to_script, script_to_address
from twinlock.chain.bond import BondScript, Commitment
from twinlock.chain.coin import Coin
from twinlock.chain.contract import SwapContract, is_secret
from twinlock.chain.errors import AddressError, BondError, CoinIdError, ContractError, MalformedError, ScriptError
from twinlock.chain.keys import PrivateKey, check_pubkey
from twinlock.chain.script import Kind
from twinlock.chain.signatures import Claim
from twinlock.chain.terms import BondTerms, CoinPoint, ContractAudit, ContractTerms
from twinlock.chain.tx import FINAL, MAX_MONEY, Tx
from twinlock.kernels.ripemd160 import hash160

COIN_ID_SIZE = 36


@dataclass(frozen=True, slots=True)
class BitcoinFamily:
    """Implements `twinlock.chain.family.Family` for one coin; docstrings stand there."""

    coin: Coin

    @property
    def redeem_size(self) -> int:
        return self._sizes.contract_spend(sizes.REDEEM_DATA)

    @property
    def refund_size(self) -> int:
        return self._sizes.contract_spend(sizes.REFUND_DATA)

    def coin_id(self, txid: str, index: int) -> bytes:
        try:
            tx_hash = bytes.fromhex(txid)[::-1]
        except ValueError:
            tx_hash = b""
        if len(tx_hash) != 32 or len(txid) != 64 or not 0 <= index <= 0xFFFFFFFF:
            raise CoinIdError("not a transaction ID and index", numbers={"index": index})
        return tx_hash + index.to_bytes(4, "big")

    def parse_coin_id(self, coin_id: bytes) -> CoinPoint:
        if len(coin_id) != COIN_ID_SIZE:
            raise CoinIdError("a coin ID has 36 bytes", numbers={"size": len(coin_id)})
        return CoinPoint(bytes(coin_id[:32]), int.from_bytes(coin_id[32:], "big"))

    def coin_id_text(self, coin_id: bytes) -> str:
        return str(self.parse_coin_id(coin_id))

    def address_of(self, pubkey: bytes) -> str:
        return self._swap_address(hash160(check_pubkey(pubkey)))

    def check_receive_address(self, text: str) -> str:
        pubkey_hash = self._address_hash(text)
        # Of a witness program's spellings only one is in lower case.
        if text != (text.lower() if self.coin.segwit else self._swap_address(pubkey_hash)):
            raise AddressError(
                "the address is not in its canonical spelling",
                code="chain.address.spelling",
                fix="write it exactly as the wallet shows it, in lower case",
            )
        return text

    def make_contract(
        self,
        recipient: str,
        sender: str,
        secret_hash: bytes,
        lock_time: int,
        value: int = 0,  # noqa: ARG002 - our outputs name it, not the contract
    ) -> bytes:
        terms = SwapContract(secret_hash, self._address_hash(recipient), self._address_hash(sender), lock_time)
        return terms.serialize()

    def parse_contract(self, contract: bytes) -> ContractTerms:
        found = SwapContract.parse(contract)
        return ContractTerms(
            self._swap_address(found.recipient), self._swap_address(found.sender), found.secret_hash, found.lock_time
        )

    def contract_script(self, contract: bytes) -> bytes:
        return self._script_hash_output(contract)

    def audit_contract(self, contract: bytes, coin_id: bytes, raw_tx: bytes) -> ContractAudit:
        terms = self.parse_contract(contract)
        point = self.parse_coin_id(coin_id)
        tx = self._parse(raw_tx)
        if tx.hash != point.tx_hash:
            raise ContractError("the transaction is not the coin's", code="chain.contract.txid")
        if point.index >= len(tx.outputs):
            raise ContractError(
                "the transaction has no such output",
                code="chain.contract.output",
                numbers={"index": point.index, "outputs": len(tx.outputs)},
            )
        output = tx.outputs[point.index]
        if output.script != self.contract_script(contract):
            raise ContractError("the output does not pay the contract", code="chain.contract.output")
        if output.value > MAX_MONEY:
            raise ContractError("no coin has that much money", code="chain.contract.value")
        return ContractAudit(terms, output.value, point)

    def find_secret(self, raw_tx: bytes, point: CoinPoint, secret_hash: bytes) -> bytes | None:
        for txin in self._parse(raw_tx).inputs:
            if txin.point == point:
                try:
                    data = (*txin.witness, *script.pushes(txin.script))
                except ScriptError:
                    data = txin.witness
                return next((item for item in data if is_secret(item, secret_hash)), None)
        return None

    def tx_id(self, raw_tx: bytes) -> str:
        return self._parse(raw_tx).txid

    def spends(self, raw_tx: bytes, input_index: int) -> CoinPoint:
        points = self.inputs(raw_tx)
        if not 0 <= input_index < len(points):
            raise CoinIdError("there is no such input", numbers={"index": input_index, "inputs": len(points)})
        return points[input_index]

    def inputs(self, raw_tx: bytes) -> tuple[CoinPoint, ...]:
        return tuple(txin.point for txin in self._parse(raw_tx).inputs)

    def output_value(self, raw_tx: bytes, index: int) -> int:
        outputs = Tx.parse(raw_tx).outputs
        if not 0 <= index < len(outputs):
            raise CoinIdError("there is no such output", numbers={"index": index, "outputs": len(outputs)})
        return outputs[index].value

    def fee_rate(self, raw_tx: bytes, inputs_value: int) -> int:
        tx = self._parse(raw_tx)
        return (inputs_value - tx.total_out) // tx.vsize

    def required_funds(self, value: int, lots: int, inputs_size: int, max_fee_rate: int) -> int:
        return sizes.required_funds(self._sizes, value, lots, inputs_size, max_fee_rate)

    def swap_size(self, inputs_size: int, contracts: int) -> int:
        return sizes.swap_size(self._sizes, inputs_size, contracts)

    def min_lot(self, max_fee_rate: int) -> int:
        return sizes.min_lot(self._sizes, max_fee_rate)

    def min_bond(self, max_fee_rate: int) -> int:
        return sizes.min_bond(self._sizes, max_fee_rate)

    def make_bond_script(self, lock_time: int, pubkey_hash: bytes) -> bytes:
        return BondScript(lock_time, pubkey_hash).serialize()

    def parse_bond_tx(self, raw_tx: bytes) -> BondTerms:
        tx = self._parse(raw_tx)
        if len(tx.outputs) < 2:
            raise BondError("a bond transaction has at least two outputs", numbers={"outputs": len(tx.outputs)})
        if tx.lock_time or any(txin.sequence != FINAL for txin in tx.inputs):
            raise BondError("a bond transaction must be final", code="chain.bond.not_final")
        bond, note = tx.outputs[:2]
        if note.value or bond.value > MAX_MONEY:
            raise BondError("an output's value is wrong", code="chain.bond.value")
        commitment = Commitment.parse(note.script)
        bond_script = self.make_bond_script(commitment.lock_time, commitment.pubkey_hash)
        if bond.script != self._script_hash_output(bond_script):
            raise BondError("output 0 is not locked as output 1 says", code="chain.bond.script")
        return BondTerms(
            version=commitment.version,
            account_id=commitment.account_id,
            amount=bond.value,
            lock_time=commitment.lock_time,
            pubkey_hash=commitment.pubkey_hash,
            script=bond_script,
            point=CoinPoint(tx.hash, 0),
        )

    def pubkey_hash(self, pubkey: bytes) -> bytes:
        return hash160(check_pubkey(pubkey))

    def coin_proof(self, coin_id: bytes, keys: Sequence[PrivateKey]) -> tuple[list[bytes], list[bytes]]:
        return coinproof.make_proof(coin_id, keys)

    def coin_proof_claims(
        self,
        prevout_script: bytes,
        redeem_script: bytes,
        coin_id: bytes,
        pubkeys: Sequence[bytes],
        sigs: Sequence[bytes],
    ) -> list[Claim]:
        return coinproof.proof_claims(prevout_script, redeem_script, coin_id, pubkeys, sigs)

    def input_size(self, prevout_script: bytes, redeem_script: bytes) -> int:
        return sizes.input_size(prevout_script, redeem_script)

    def _parse(self, raw_tx: bytes) -> Tx:
        tx = Tx.parse(raw_tx)
        if tx.mweb is not None and not self.coin.mweb:
            raise MalformedError(f"{self.coin.name} has no such transactions", code="chain.malformed.mweb")
        return tx

    @property
    def _sizes(self) -> sizes.SizeTable:
        return sizes.SEGWIT if self.coin.segwit else sizes.LEGACY

    def _script_hash_output(self, inner: bytes) -> bytes:
        return script.p2wsh(inner) if self.coin.segwit else script.p2sh_of(inner)

    def _swap_address(self, pubkey_hash: bytes) -> str:
        output = script.p2wpkh(pubkey_hash) if self.coin.segwit else script.p2pkh(pubkey_hash)
        address = script_to_address(self.coin, output)
        assert address is not None, "both templates have addresses"
        return address

    def _address_hash(self, text: str) -> bytes:
        """The public key hash of a swap address in any spelling."""
        output = address_to_script(self.coin, text)
        wanted = Kind.P2WPKH if self.coin.segwit else Kind.P2PKH
        if script.kind(output) != wanted:
            raise AddressError(
                f"swaps on {self.coin.name} pay {wanted} addresses only",
                code="chain.address.kind",
                fix=f"use a {wanted} address",
            )
        return output[2:] if self.coin.segwit else output[3:23]
